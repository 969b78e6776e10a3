"""The control plane: what may be changed, by whom, and what follows; each change one transaction."""
