"""Why a model answers as it does: what of its inputs an output came from."""
