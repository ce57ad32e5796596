//! The bench suite of divisi: the same workloads on divisi and its peers.
