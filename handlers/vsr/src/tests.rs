//! The handler on real footage, and models of every kind.
