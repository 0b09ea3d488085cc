//! A posable body: rest shape, bones, skinning.
