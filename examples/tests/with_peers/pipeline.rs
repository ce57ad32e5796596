//! The pipeline: against counting in one go, and its bounds.

use std::collections::HashMap;

use divisi::io::{AsyncWriteExt, BufReader};
use divisi::net::UnixStream;
use divisi_examples::pipeline::{PipelineError, Settings, count_words};
use proptest::prelude::*;

fn counted(text: &str) -> HashMap<String, u64> {
    let mut words = HashMap::new();
    for word in text.split_whitespace() {
        *words.entry(word.to_lowercase()).or_default() += 1;
    }
    words
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn it_counts_what_one_go_counts_and_stays_within_its_bounds(
        lines in proptest::collection::vec("[a-cA-C ]{0,12}", 0..300),
        batch in 1..20_usize,
        queue in 1..4_usize,
        workers in 1..5_usize,
    ) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let settings = Settings { batch, queue, workers };
        let input = divisi::io::Cursor::new(text.clone().into_bytes());
        let result = divisi::run(count_words(input, settings)).unwrap();
        prop_assert_eq!(&result.words, &counted(&text));
        prop_assert_eq!(result.lines, lines.len());
        prop_assert!(result.peak <= settings.most_under_way(), "{} batches under way", result.peak);
    }
}

#[divisi::test(worker_threads = 2)]
async fn it_reads_from_a_socket_while_it_computes() {
    let (mut near, far) = UnixStream::pair().unwrap();
    let writing = divisi::spawn(async move {
        for i in 0..20_000 {
            near.write_all(format!("word w{} again\n", i % 10).as_bytes())
                .await?;
        }
        near.close().await
    });
    let result = count_words(BufReader::new(far), Settings::default())
        .await
        .unwrap();
    writing.await.unwrap().unwrap();
    assert_eq!(result.lines, 20_000);
    assert_eq!(result.words["again"], 20_000);
    assert_eq!(result.words["w7"], 2_000);
    assert!(result.peak <= Settings::default().most_under_way());
}

#[divisi::test(worker_threads = 2)]
async fn an_error_names_its_line_and_ends_a_pipeline_whose_input_never_ends() {
    let (near, far) = UnixStream::pair().unwrap();
    let writing = divisi::spawn(async move {
        let mut line = 0;
        loop {
            line += 1;
            let text = if line == 1_234 { "a\0b\n" } else { "fine\n" };
            if near.write_all(text.as_bytes()).await.is_err() {
                // The pipeline has closed its end.
                return;
            }
        }
    });
    let settings = Settings {
        batch: 10,
        ..Settings::default()
    };
    match count_words(BufReader::new(far), settings).await {
        Err(PipelineError::Line { number, .. }) => assert_eq!(number, 1_234),
        other => panic!("{other:?}"),
    }
    writing.await.unwrap();
}

#[divisi::test]
async fn input_that_is_no_text_is_a_read_error() {
    let input = divisi::io::Cursor::new(b"fine\n\xff\xfe\n".to_vec());
    let result = count_words(input, Settings::default()).await;
    assert!(matches!(result, Err(PipelineError::Read(_))), "{result:?}");
}
