"""Indexing: from the positions of the lines to cells, best first.

`lines` chooses the lines. `lattices` says where the lines of a Bravais lattice lie, and `comparison` how measured lines
agree with them. `search` finds cells, `least_squares` refines them and `rating` says how much each explains.
`superlattices` looks for weak further lines. `index` walks through all of these; `given` takes a cell from the user.
"""
