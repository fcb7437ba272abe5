//! Memory as a store: for the simulator, and for embedders without a disk.
