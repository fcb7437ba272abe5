//! Bytes that survive a crash: the only file that knows bincode.
