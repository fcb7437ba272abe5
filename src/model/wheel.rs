//! The timer wheel: a data structure.
