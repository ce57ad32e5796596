//! reqwest and sqlx in divisi's tasks: our own HTTP server and a real PostgreSQL at the other end.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use divisi_examples::{foreign, http};
use rustix::process::{Signal, getuid};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Executor, Row};
use tempfile::TempDir;

use crate::ANY_PORT;
use crate::peers::{self, Peer};

const GRACE: Duration = Duration::from_secs(30);

#[test]
fn reqwest_gets_pages_from_many_tasks() {
    let runtime = foreign::runtime().unwrap();
    runtime.block_on(async {
        let server = http::serve(ANY_PORT).await.unwrap();
        let base = format!("http://{}", server.address());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let (client, url) = (client.clone(), format!("{base}/primes/100"));
                divisi::spawn(async move { foreign::fetch(&client, &url).await })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap(), "25\n");
        }
        let missing = foreign::fetch(&client, &format!("{base}/nowhere")).await;
        assert_eq!(missing.unwrap_err().status().unwrap().as_u16(), 404);
        // reqwest's own time-out is tokio's timer.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let slow = client.get(format!("http://{}/", silent.local_addr().unwrap()));
        let late = slow.timeout(Duration::from_millis(10)).send().await;
        assert!(late.unwrap_err().is_timeout());
        drop(client);
        assert!(server.shutdown(GRACE).await);
    });
}

#[test]
fn without_a_runtime_of_tokios_reqwest_says_so() {
    let runtime = divisi::Runtime::builder()
        .worker_threads(1)
        .build()
        .unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let task =
        runtime.spawn(async move { foreign::fetch(&client, "http://127.0.0.1:9/").await.is_ok() });
    let error = runtime.block_on(task).unwrap_err();
    assert!(error.is_panic());
}

/// A PostgreSQL on a free port, with its files in a temporary directory.
struct Postgres {
    peer: Peer,
    options: PgConnectOptions,
    _directory: TempDir,
}

impl Postgres {
    fn start() -> Option<Postgres> {
        let programs = peers::postgres_programs()?;
        let directory = tempfile::tempdir().unwrap();
        // It refuses to run as root.
        let user = if getuid().is_root() {
            let Some(user) = user_ids("postgres") else {
                peers::missing("the user `postgres`, for whom root would run PostgreSQL,");
                return None;
            };
            chown(directory.path(), Some(user.0), Some(user.1)).unwrap();
            Some(user)
        } else {
            None
        };
        let command = |name: &str| {
            let mut command = Command::new(programs.join(name));
            command.current_dir(directory.path()).env("LC_ALL", "C");
            if let Some((user, group)) = user {
                command.uid(user).gid(group);
            }
            command
        };
        let data = directory.path().join("data");
        let mut initdb = command("initdb");
        initdb.args(["--no-sync", "-A", "trust", "-U", "divisi", "-D"]);
        let made = initdb.arg(&data).output().unwrap();
        assert!(made.status.success(), "{}", peers::text(&made.stderr));
        let (peer, address) = peers::on_a_free_port(|port| {
            let mut server = command("postgres");
            server.args([
                "-c",
                "fsync=off",
                "-c",
                "listen_addresses=127.0.0.1",
                "-k",
                "",
                "-p",
            ]);
            server.arg(port.to_string()).arg("-D").arg(&data);
            let ready = "database system is ready to accept connections";
            Ok(Peer::start(&mut server, true, ready)?.0)
        });
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(address.port())
            .username("divisi")
            .database("postgres");
        Some(Postgres {
            peer,
            options,
            _directory: directory,
        })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // "Immediate shutdown": the server ends its children and itself.
        self.peer.signal(Signal::QUIT);
        self.peer.wait();
    }
}

/// The ids of a user and of its group.
fn user_ids(name: &str) -> Option<(u32, u32)> {
    let users = fs::read_to_string(Path::new("/etc/passwd")).ok()?;
    let mut fields = users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields[0] == name)?
        .into_iter()
        .skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[test]
fn sqlx_moves_money_in_many_tasks_and_loses_none() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let runtime = foreign::runtime().unwrap();
    runtime.block_on(async {
        let pool = foreign::connect(postgres.options.clone(), 4).await.unwrap();
        pool.execute("CREATE TABLE accounts (id INT PRIMARY KEY, balance BIGINT NOT NULL)")
            .await
            .unwrap();
        pool.execute("INSERT INTO accounts SELECT id, 100 FROM generate_series(0, 9) AS id")
            .await
            .unwrap();
        let transfers: Vec<_> = (0..100)
            .map(|i| {
                let pool = pool.clone();
                divisi::spawn(async move {
                    let (from, to) = (i % 10, (i * 7 + 3) % 10);
                    match foreign::transfer(&pool, from, to, i64::from(i % 40)).await {
                        Ok(()) | Err(sqlx::Error::RowNotFound) => {}
                        Err(error) => panic!("{error}"),
                    }
                })
            })
            .collect();
        for (i, transfer) in transfers.iter().enumerate() {
            if i % 10 == 9 {
                // Wherever it is now: a transaction that is dropped is rolled back.
                transfer.cancel("to see what becomes of the transaction");
            }
        }
        for transfer in transfers {
            if let Err(error) = transfer.await {
                assert!(error.is_cancelled(), "{error}");
            }
        }
        let missing = foreign::transfer(&pool, 0, 77, 1).await;
        assert!(matches!(missing, Err(sqlx::Error::RowNotFound)));
        let row = sqlx::query("SELECT SUM(balance)::BIGINT, MIN(balance) FROM accounts")
            .fetch_one(&pool)
            .await
            .unwrap();
        let (sum, least): (i64, i64) = (row.get(0), row.get(1));
        assert_eq!(sum, 1_000);
        assert!(least >= 0);
        let wrong = pool.execute("SELECT nothing FROM nowhere").await;
        assert!(matches!(wrong, Err(sqlx::Error::Database(_))));
        pool.close().await;
    });
}
