//! divisi with the crates that Rust users build on. Each module is an example, made for copying from, and each is tested against a real peer.
//!
//! | module | shows |
//! |---|---|
//! | [`http`] | hyper: an HTTP/1 and HTTP/2 server, and a client |
//! | [`web`] | axum: JSON, query, state, WebSocket, server-sent events |
//! | [`serving`] | the accept loop of both, with graceful shutdown |
//! | [`grpc`] | tonic: unary and streaming calls, both ends |
//! | [`websocket`] | tokio-tungstenite: an echo server and a client |
//! | [`tls`] | tokio-rustls: both ends |
//! | [`cache`] | redis over a connection of divisi's |
//! | [`pool`] | a pool of database connections with acquire time-out and leak report |
//! | [`calls`] | many API calls at once, with a limit and time-outs |
//! | [`pipeline`] | data processing with back-pressure and CPU stages |
//! | [`prefork`] | one server, several processes, restart of those that die |
//! | [`mixing`] | synchronous code calling asynchronous code, and the other way round |
//! | [`foreign`] | reqwest and sqlx, which insist on tokio's runtime |
//!
//! All but the last run without a runtime of tokio's in the process.

#![forbid(unsafe_code)]

pub mod cache;
pub mod calls;
pub mod foreign;
pub mod grpc;
pub mod http;
pub mod mixing;
pub mod pipeline;
pub mod pool;
pub mod prefork;
pub mod serving;
pub mod tls;
pub mod web;
pub mod websocket;

/// Any error, as the examples pass them on.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
