//! tonic: both of our ends, and curl, which knows nothing of gRPC but HTTP/2.

use std::time::Duration;

use divisi_examples::grpc::{self, Range, Sample, Samples, Statistics};
use futures_util::StreamExt;
use futures_util::stream::iter;
use prost::Message;
use tonic::{Code, Request};

use crate::ANY_PORT;
use crate::peers::{self, run, text};

const GRACE: Duration = Duration::from_secs(30);

#[divisi::test(worker_threads = 2)]
async fn unary_calls_share_a_connection_and_carry_errors() {
    let server = grpc::serve(ANY_PORT).await.unwrap();
    let client = grpc::client(server.address()).await.unwrap();
    let calls: Vec<_> = (1..=50_u32)
        .map(|n| {
            let mut client = client.clone();
            divisi::spawn(async move {
                let values = (1..=n).map(f64::from).collect();
                let answer = client.mean(Samples { values }).await.unwrap().into_inner();
                assert_eq!(answer.count, u64::from(n));
                assert!((answer.mean - f64::from(n + 1) / 2.0).abs() < 1e-9);
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    let mut client = client;
    let refused = client.mean(Samples::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    drop(client);
    assert!(server.shutdown(GRACE).await);
}

#[divisi::test(worker_threads = 2)]
async fn a_server_streams_and_a_client_may_stop_listening() {
    let server = grpc::serve(ANY_PORT).await.unwrap();
    let mut client = grpc::client(server.address()).await.unwrap();
    let range = Range {
        first: 5,
        count: 10_000,
    };
    let values: Vec<f64> = client
        .count(range)
        .await
        .unwrap()
        .into_inner()
        .map(|sample| sample.unwrap().value)
        .collect()
        .await;
    let expected: Vec<f64> = (5..10_005).map(f64::from).collect();
    assert!(values == expected);

    let endless = Range {
        first: 0,
        count: u32::MAX,
    };
    let mut stream = client.count(endless).await.unwrap().into_inner();
    assert_eq!(stream.next().await.unwrap().unwrap().value, 0.0);
    drop(stream);
    let beyond = Range {
        first: 1,
        ..endless
    };
    let refused = client.count(beyond).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    drop(client);
    assert!(server.shutdown(GRACE).await);
}

#[divisi::test(worker_threads = 2)]
async fn both_sides_stream_at_once() {
    let server = grpc::serve(ANY_PORT).await.unwrap();
    let mut client = grpc::client(server.address()).await.unwrap();
    let (sender, receiver) = divisi::channel::mpsc::bounded(1);
    let mut means = client.running_mean(receiver).await.unwrap().into_inner();
    // Each answer before the next question: neither side waits for the other's end.
    for (value, mean) in [(2.0, 2.0), (4.0, 3.0), (9.0, 5.0)] {
        sender.send(Sample { value }).await.unwrap();
        assert_eq!(means.next().await.unwrap().unwrap().mean, mean);
    }
    drop(sender);
    assert!(means.next().await.is_none());

    let samples = iter((0..5_000).map(|_| Sample { value: 1.0 }));
    let means = client.running_mean(samples).await.unwrap().into_inner();
    assert_eq!(means.count().await, 5_000);
    drop(client);
    assert!(server.shutdown(GRACE).await);
}

#[divisi::test(worker_threads = 2)]
async fn a_call_ends_when_the_time_that_its_client_gave_is_over() {
    let server = grpc::serve(ANY_PORT).await.unwrap();
    let mut client = grpc::client(server.address()).await.unwrap();
    let mut request = Request::new(Samples { values: vec![1.0] });
    request.set_timeout(Duration::from_secs(60));
    assert!(client.mean(request).await.is_ok());
    let mut request = Request::new(Samples {
        values: vec![1.0; 100_000],
    });
    // Over before the server has read the request.
    request.set_timeout(Duration::from_nanos(1));
    let late = client.mean(request).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    drop(client);
    assert!(server.shutdown(GRACE).await);
}

#[divisi::test(worker_threads = 2)]
async fn curl_makes_a_call_by_hand() {
    let Some(curl) = peers::program("curl") else {
        return;
    };
    let server = grpc::serve(ANY_PORT).await.unwrap();
    let message = Samples {
        values: vec![1.0, 2.0, 6.0],
    }
    .encode_to_vec();
    // Not compressed, then the length, then the message.
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);
    let directory = tempfile::tempdir().unwrap();
    let headers = directory.path().join("headers");
    let url = format!("http://{}/divisi.examples.Telemetry/Mean", server.address());
    let args = [
        "-sS",
        "--max-time",
        "30",
        "--http2-prior-knowledge",
        "-H",
        "content-type: application/grpc",
        "-H",
        "te: trailers",
        "--data-binary",
        "@-",
        "-D",
        headers.to_str().unwrap(),
        &url,
    ];
    let answer = run(&curl, args, frame).await.stdout;
    assert_eq!(answer[0], 0);
    let statistics = Statistics::decode(&answer[5..]).unwrap();
    assert_eq!((statistics.count, statistics.mean), (3, 3.0));
    let headers = text(&std::fs::read(&headers).unwrap());
    assert!(headers.contains("grpc-status: 0"), "{headers}");
    assert!(server.shutdown(GRACE).await);
}
