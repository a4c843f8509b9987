"""What language models write: prompts, sessions that read them, and what is told of the tokens.

`bm.generate` is in `bigmodel_core/train/generation.py`, since it takes runs, checkpoints and trainers.

| file | story |
| --- | --- |
| `generate` | one generation from its arguments to its answer |
| `writer` | which models write, after what, and how much |
| `prompts` | the tokens of prompts |
| `decoder` | sessions that read prompts and then token by token |
| `allowed` | which tokens may follow |
| `stop` | what ends a text |
| `telling` | the text of tokens, as a whole and in pieces |
"""
