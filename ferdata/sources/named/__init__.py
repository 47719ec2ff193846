"""Sets whose file names say everything: JAFFE and KDEF."""
