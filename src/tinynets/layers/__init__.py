"""Blocks, initial weights and argument checks that several models share."""

from .init import init_default as init_default
from .init import init_he as init_he
from .init import init_he_but_linear as init_he_but_linear
from .init import init_lecun as init_lecun
from .init import init_norm as init_norm
from .init import init_normal as init_normal
from .init import init_zero as init_zero
from .init import linear as linear
from .validation import check_at_least_one as check_at_least_one
from .validation import check_between as check_between
from .validation import check_choice as check_choice
from .validation import check_image_size as check_image_size
from .validation import check_multiple as check_multiple
from .validation import check_probability as check_probability
