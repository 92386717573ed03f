"""Indexing: from the positions of the lines to cells, best first.

`lines` chooses the lines; the kernel behind `ops.index_cells` finds, refines and rates cells. `lattices` has the
Bravais lattices and translates between the kernel's cells and `Cell`, `related` finds sub- and superlattices and higher
symmetries, `equal_scatterers` lattices that hide behind a smaller one. `index` walks through all of these, `assignment`
gives each line its indices, and `given` takes a cell from the user.
"""
