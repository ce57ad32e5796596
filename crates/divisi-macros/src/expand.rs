//! The wrapper that each macro writes around the function.

use std::time::Duration;

use proc_macro::{Delimiter, Group, TokenStream, TokenTree};

use crate::{args::Args, diagnostic::Diagnostic, function::Function};

/// Long enough for a test on a machine that does ten other things, short enough that a hung suite is noticed.
const DEFAULT_TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Tests run in parallel in one process: more workers than one are asked for where they matter.
const DEFAULT_TEST_WORKERS: usize = 1;

pub(crate) fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let (args, diagnostics) = Args::parse(
        arguments,
        "main",
        &["worker_threads", "compute_threads", "clock", "crate"],
    );
    let expanded = match Function::parse(item, "main") {
        Ok(function) => main_wrapper(function, args),
        // An empty `main` keeps the compiler from adding that there is none.
        Err(diagnostic) => [diagnostic.into_compile_error(), code("fn main() {}")]
            .into_iter()
            .collect(),
    };
    with_errors(expanded, diagnostics)
}

pub(crate) fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let (args, diagnostics) = Args::parse(
        arguments,
        "test",
        &[
            "worker_threads",
            "timeout",
            "clock",
            "allow_leftover_tasks",
            "crate",
        ],
    );
    let expanded = match Function::parse(item, "test") {
        Ok(function) => test_wrapper(function, args),
        Err(diagnostic) => diagnostic.into_compile_error(),
    };
    with_errors(expanded, diagnostics)
}

fn main_wrapper(function: Function, args: Args) -> TokenStream {
    let divisi = divisi(args.divisi);
    let mut call_chain = vec![divisi.clone(), code("::Runtime::builder()")];
    if let Some(threads) = args.worker_threads {
        call_chain.push(code(&format!(".worker_threads({threads})")));
    }
    if let Some(threads) = args.compute_threads {
        call_chain.push(code(&format!(".compute_threads({threads})")));
    }
    if args.virtual_clock == Some(true) {
        let clock = [divisi, code("::Clock::Virtual")].into_iter().collect();
        call_chain.extend([code(".clock"), parenthesized(clock)]);
    }
    call_chain.extend([
        code(".build().expect(\"the divisi runtime could not be started\").block_on"),
        parenthesized(call(&function)),
    ]);
    wrap(
        function,
        TokenStream::new(),
        call_chain.into_iter().collect(),
    )
}

fn test_wrapper(function: Function, args: Args) -> TokenStream {
    let divisi = divisi(args.divisi);
    let settings = format!(
        ".worker_threads({}).timeout(::core::time::Duration::from_millis({})).virtual_clock({}).allow_leftover_tasks({})",
        args.worker_threads.unwrap_or(DEFAULT_TEST_WORKERS),
        u64::try_from(args.timeout.unwrap_or(DEFAULT_TEST_TIMEOUT).as_millis()).unwrap_or(u64::MAX),
        args.virtual_clock.unwrap_or(false),
        args.allow_leftover_tasks.unwrap_or(false),
    );
    let name = format!(
        "::core::concat!(::core::module_path!(), \"::\", ::core::stringify!({}))",
        function.name
    );
    let config = [
        divisi.clone(),
        code("::__private::TestConfig::new"),
        parenthesized(code(&name)),
        code(&settings),
    ];
    let arguments = config
        .into_iter()
        .chain([code(","), call(&function)])
        .collect();
    let call = [
        divisi,
        code("::__private::run_test"),
        parenthesized(arguments),
    ];

    // By its full path: after `use divisi::test`, a plain `#[test]` would mean this macro again.
    wrap(
        function,
        code("#[::core::prelude::v1::test]"),
        call.into_iter().collect(),
    )
}

/// `attributes visibility fn name() -> T { async fn name() -> T { body } call }`
fn wrap(function: Function, test_attribute: TokenStream, call: TokenStream) -> TokenStream {
    let Function {
        attributes,
        visibility,
        name,
        parameters,
        output,
        body,
    } = function;
    let signature: TokenStream = [
        code("fn"),
        TokenTree::Ident(name).into(),
        TokenTree::Group(parameters).into(),
        output,
    ]
    .into_iter()
    .collect();

    let inner = [
        code("async"),
        signature.clone(),
        TokenTree::Group(body.clone()).into(),
        call,
    ];
    let mut wrapper = Group::new(Delimiter::Brace, inner.into_iter().collect());
    // So that "expected `T`, found .." about the value of the wrapper shows the user's function.
    wrapper.set_span(body.span());
    [
        test_attribute,
        attributes,
        visibility,
        signature,
        TokenTree::Group(wrapper).into(),
    ]
    .into_iter()
    .collect()
}

/// `name()`: calls the async function inside the wrapper.
fn call(function: &Function) -> TokenStream {
    [
        TokenTree::Ident(function.name.clone()),
        TokenTree::Group(function.parameters.clone()),
    ]
    .into_iter()
    .collect()
}

/// The path of the face crate.
fn divisi(path: Option<TokenStream>) -> TokenStream {
    path.unwrap_or_else(|| code("::divisi"))
}

fn parenthesized(tokens: TokenStream) -> TokenStream {
    TokenTree::Group(Group::new(Delimiter::Parenthesis, tokens)).into()
}

/// Tokens of the macro's own, resolved where the attribute stands.
fn code(source: &str) -> TokenStream {
    source.parse().expect("the macros write valid tokens")
}

fn with_errors(expanded: TokenStream, diagnostics: Vec<Diagnostic>) -> TokenStream {
    diagnostics
        .into_iter()
        .map(Diagnostic::into_compile_error)
        .chain([expanded])
        .collect()
}
