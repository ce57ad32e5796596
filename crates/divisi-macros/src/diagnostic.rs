//! Compile errors that point at the token that is wrong.

use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

/// Something that is wrong with the annotated function or with the attribute's arguments.
#[derive(Debug)]
pub(crate) struct Diagnostic {
    start: Span,
    end: Span,
    message: String,
}

impl Diagnostic {
    /// An error about the tokens that `span` covers. The message says what to write instead.
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Self::spanning(span, span, message)
    }

    /// An error about everything from `start` to `end`: spans cannot be joined on stable Rust, but a macro call whose first and last
    /// token carry them is reported as the range between.
    pub(crate) fn spanning(start: Span, end: Span, message: impl Into<String>) -> Self {
        Self {
            start,
            end,
            message: message.into(),
        }
    }

    /// `::core::compile_error! { "message" }`, placed on the tokens in question.
    pub(crate) fn into_compile_error(self) -> TokenStream {
        let punct = |character, spacing| {
            let mut punct = Punct::new(character, spacing);
            punct.set_span(self.start);
            TokenTree::Punct(punct)
        };
        let ident = |name| TokenTree::Ident(Ident::new(name, self.start));
        let mut message = Literal::string(&self.message);
        message.set_span(self.end);
        let mut call = Group::new(Delimiter::Brace, TokenTree::Literal(message).into());
        call.set_span(self.end);
        TokenStream::from_iter([
            punct(':', Spacing::Joint),
            punct(':', Spacing::Alone),
            ident("core"),
            punct(':', Spacing::Joint),
            punct(':', Spacing::Alone),
            ident("compile_error"),
            punct('!', Spacing::Alone),
            TokenTree::Group(call),
        ])
    }
}
