"""Prove that the annotated lines of a model hold for every size of the named axes."""
