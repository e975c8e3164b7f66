"""What a model may be called with: shape strings, the annotations of forward, symbolic sizes."""
