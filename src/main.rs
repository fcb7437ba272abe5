//! The binary: the library's first user.

fn main() {}
