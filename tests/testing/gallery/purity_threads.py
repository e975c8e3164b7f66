"""Models that several threads cannot call at once."""

import threading

import torch

from .bug import Bug
from .fine import INPUT, Fine

NOW = {"params": {"purity.threads": {"seconds": 0.2}}}


class PassesByAttribute(Fine):
    def forward(self, x):
        self.scale = x.abs().mean(1, keepdim=True)
        y = super().forward(x)
        return y * self.scale


class PassesByVariable(Fine):
    def forward(self, x):
        scale = x.abs().mean(1, keepdim=True)
        y = super().forward(x)
        return y * scale


class SharedWorkspace(Fine):
    def __init__(self):
        super().__init__()
        self.register_buffer("space", torch.zeros(4, 6), persistent=False)

    def forward(self, x):
        self.space.copy_(x)
        return super().forward(self.space)


class NoReentry(Fine):
    busy = False

    def forward(self, x):
        if self.busy:
            raise RuntimeError("called while it is running")
        self.busy = True
        y = super().forward(x)
        self.busy = False
        return y


class HangsInThreads(Fine):
    def forward(self, x):
        while threading.current_thread() is not threading.main_thread():
            pass
        return super().forward(x)


BUGS = [
    Bug("purity.threads", PassesByAttribute, PassesByVariable, INPUT, "a call writes scale: "),
    Bug("purity.threads", SharedWorkspace, Fine, INPUT, "a call writes space: "),
    Bug("purity.threads", NoReentry, Fine, INPUT, "called while it is running"),
    Bug("purity.threads", HangsInThreads, Fine, INPUT, "8 of 8 threads", options=NOW),
]
