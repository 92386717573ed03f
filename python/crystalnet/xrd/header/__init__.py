"""The radiation that a pattern file states: in comments, in a vendor's fields, in a CIF, in XML.

`words` splits a line into words and numbers. `facts` reads what a number is from the words before it (`_WL1=`,
`K-Alpha1 wavelength,`, `lambda:`, `Energy (keV) =`), and tubes, monochromators and stripped Kα2 from words alone.
`decision` makes one `Radiation` of facts that a file states several times, or that contradict one another.
`sources` and `cif` apply these to each kind of file.
"""
