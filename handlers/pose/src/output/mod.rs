//! What is told of the people found: JSON, NPZ, GLB, BVH.
