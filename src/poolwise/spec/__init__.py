"""From a formula and a table to numbers: grammar, evaluation, design, parameters."""
