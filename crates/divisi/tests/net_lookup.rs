//! Looking names up: numbers need no thread, equal names share one look-up, and failures say which name.

use divisi::net::{LookupError, lookup_host};
use divisi::{Clock, Runtime};

fn runtime() -> Runtime {
    Runtime::builder()
        .worker_threads(2)
        .max_blocking_threads(1)
        .clock(Clock::Virtual)
        .build()
        .unwrap()
}

#[test]
fn names_are_looked_up_while_the_blocking_pool_is_full() {
    let runtime = runtime();
    runtime.block_on(async {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let blocked = divisi::spawn_blocking(move || released.recv().is_err());
        let found: Vec<_> = lookup_host("localhost:80").await.unwrap().collect();
        assert!(!found.is_empty());
        assert!(
            found
                .iter()
                .all(|address| address.ip().is_loopback() && address.port() == 80)
        );
        drop(release);
        assert!(blocked.await.unwrap());
    });
}

#[test]
fn askers_of_one_name_each_get_it_with_their_port_and_may_go_away() {
    let runtime = runtime();
    runtime.block_on(async {
        let askers: Vec<_> = (1..100_u16)
            .map(|port| {
                divisi::spawn(async move {
                    let mut found = lookup_host(("localhost", port)).await.unwrap();
                    assert_eq!(found.next().unwrap().port(), port);
                })
            })
            .collect();
        let mut cancelled = 0;
        for (number, asker) in askers.into_iter().enumerate() {
            if number % 3 == 0 {
                asker.cancel("it lost interest");
                cancelled += usize::from(asker.await.is_err());
            } else {
                asker.await.unwrap();
            }
        }
        assert!(cancelled <= 33);
        // Whatever became of those, the next is served.
        assert!(lookup_host("localhost:1").await.unwrap().next().is_some());
    });
}

#[test]
fn a_name_that_does_not_exist_is_named_in_the_error() {
    let runtime = runtime();
    runtime.block_on(async {
        // Refused by every resolver without a question to the network: a label may have 63 bytes.
        let name = format!("{}.invalid", "x".repeat(64));
        let Err(error) = lookup_host((name.as_str(), 80)).await else {
            panic!("there is no such name");
        };
        let inside = error.get_ref().unwrap().downcast_ref::<LookupError>();
        assert_eq!(inside.unwrap().host(), name);
        assert!(error.to_string().contains(&name), "{error}");
    });
}

#[test]
fn a_name_where_there_is_no_runtime_is_an_error_that_says_what_to_do() {
    let error = futures_lite::future::block_on(lookup_host("localhost:80"));
    let Err(error) = error else {
        panic!("there is nobody to look it up");
    };
    assert!(error.to_string().contains("runtime"), "{error}");
}
