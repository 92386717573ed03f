"""Kernels: each has a reference in numpy or torch, and a compiled twin that is used where it was built and is faster.

CRYSTALNET_OPS=native or reference in the environment says which. Import from the modules, this one is
empty on purpose: `crystalnet.ops.reflections` needs numpy only, the others bring torch.
"""
