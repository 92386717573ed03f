"""What a crystal is: elements, cells, symmetry, settings, chemistry, structure records and CIF."""
