"""Images: files, geometry, and the stack of slices that a network sees. Without torch, but for the stack."""
