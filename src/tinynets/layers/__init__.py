"""Blocks and helpers that two or more models share."""

from .linear import linear as linear
from .validation import check_at_least_one as check_at_least_one
from .validation import check_probability as check_probability
