"""Save and restore everything a model holds, so that no check changes it."""
