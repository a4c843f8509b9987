"""Audits of trained models: what they give away of their samples, and whom they treat otherwise."""
