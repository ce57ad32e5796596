//! redis over a connection of divisi's: one connection that many tasks share.
//!
//! redis's own way to connect insists on tokio's runtime. [`MultiplexedConnection`] takes any stream instead, and gives the future that moves the bytes, to be
//! spawned. Its response time-out is tokio's too, so it is off, and calls are bounded by [`timeout`](divisi::time::timeout).

use std::net::SocketAddr;

use divisi::net::TcpStream;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisResult};

/// Connects to the server at `address`. Clones of the connection share it; it ends with the last.
///
/// # Errors
///
/// If there is no connection, or the server refuses.
pub async fn connect(address: SocketAddr) -> RedisResult<MultiplexedConnection> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let settings = RedisConnectionInfo::default();
    let (connection, driver) =
        MultiplexedConnection::new_with_config(&settings, stream, config).await?;
    drop(divisi::spawn(driver));
    Ok(connection)
}
