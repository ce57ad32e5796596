//! reqwest and sqlx, which open their own sockets by tokio's API and so insist on its runtime.
//!
//! They run unchanged in divisi's tasks where the runtime was built with [`tokio_compat`](divisi::runtime::Builder::tokio_compat); without it they panic.

use divisi::{BuildError, Runtime};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

/// A runtime in whose tasks libraries made for tokio work.
///
/// # Errors
///
/// If the system refuses threads or pollers.
pub fn runtime() -> Result<Runtime, BuildError> {
    Runtime::builder().tokio_compat(true).build()
}

/// Gets a page by reqwest.
///
/// # Errors
///
/// If there is no connection, or the server refuses.
pub async fn fetch(client: &reqwest::Client, url: &str) -> reqwest::Result<String> {
    client
        .get(url)
        .send()
        .await?
        .error_for_status()?
        .text()
        .await
}

/// A pool of connections to PostgreSQL, of at most `most`.
///
/// # Errors
///
/// If there is no connection.
pub async fn connect(options: PgConnectOptions, most: u32) -> sqlx::Result<PgPool> {
    PgPoolOptions::new()
        .max_connections(most)
        .connect_with(options)
        .await
}

/// Moves `amount` between two rows of the table `accounts`, in a transaction.
///
/// # Errors
///
/// [`RowNotFound`](sqlx::Error::RowNotFound) if an account is missing or has too little; then nothing has changed.
pub async fn transfer(pool: &PgPool, from: i32, to: i32, amount: i64) -> sqlx::Result<()> {
    let mut transaction = pool.begin().await?;
    let take = "UPDATE accounts SET balance = balance - $1 WHERE id = $2 AND balance >= $1";
    let give = "UPDATE accounts SET balance = balance + $1 WHERE id = $2";
    // In the order of their ids, so that two transfers never wait for each other's row.
    let mut steps = [(take, from), (give, to)];
    steps.sort_by_key(|&(_, id)| id);
    for (sql, id) in steps {
        let done = sqlx::query(sql)
            .bind(amount)
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        if done.rows_affected() == 0 {
            // Dropping the transaction rolls it back.
            return Err(sqlx::Error::RowNotFound);
        }
    }
    transaction.commit().await
}
