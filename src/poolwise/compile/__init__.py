"""From specification to density: the collapsed kernel, its PyMC twin and the generative model."""
