"""Kernels: each has a reference in numpy or torch, and a compiled twin that is used where it was built.

CRYSTALNET_OPS=reference in the environment switches to the references. Import from the modules, this one is
empty on purpose: `crystalnet.ops.reflections` needs numpy only, the others bring torch.
"""
