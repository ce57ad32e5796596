//! A program has a runtime of tokio's only if it asks for one with the feature `tokio-compat`.

use std::process::Command;

/// The features that cargo would build the package with for a program that uses divisi with `features`; none if it would not
/// build it at all.
fn features_of(package: &str, features: &str) -> Option<Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--offline", "--edges", "no-dev"])
        .args(["--prefix", "none", "--format", "{p}|{f}"])
        .args(["--no-default-features", "--features", features])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(tree.starts_with("divisi v"), "another format: {tree}");
    let start = format!("{package} v");
    // A package is listed at each place where it is used. What follows its features is no feature.
    let mut lines = tree.lines().filter(|line| line.starts_with(&start));
    let (_, features) = lines.next()?.split_once('|').unwrap();
    let features = features.split_whitespace().next().unwrap_or_default();
    Some(features.split(',').map(str::to_owned).collect())
}

#[test]
fn without_features_tokio_is_not_built() {
    assert_eq!(features_of("tokio", ""), None);
}

#[test]
fn tokios_runtime_is_built_for_tokio_compat_alone() {
    let has_runtime = |features| {
        let of_tokio = features_of("tokio", features).expect("its traits are used");
        of_tokio.iter().any(|feature| feature == "rt")
    };
    assert!(!has_runtime("codec,hyper,tls,tokio-io,tower,tracing"));
    assert!(has_runtime("tokio-compat"));
}

#[cfg(feature = "tokio-io")]
#[test]
fn no_task_or_job_is_inside_a_runtime_of_tokios() {
    use divisi::net::UnixStream;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::runtime::Handle;

    divisi::run(async {
        let task = divisi::spawn(async {
            let (mut near, mut far) = UnixStream::pair().unwrap();
            let text = b"by the traits of tokio";
            AsyncWriteExt::write_all(&mut near, text).await.unwrap();
            drop(near);
            let mut read = String::new();
            far.read_to_string(&mut read).await.unwrap();
            assert_eq!(read, "by the traits of tokio");
            Handle::try_current().is_err()
        });
        let job = divisi::spawn_blocking(|| Handle::try_current().is_err());
        assert!(Handle::try_current().is_err());
        assert!(task.await.unwrap() && job.await.unwrap());
    });
}
