"""The checks, one group per file; importing this package registers them all."""

from . import contract as contract
