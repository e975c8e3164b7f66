"""Everything a model holds, remembered and put back, so that no check changes it."""
