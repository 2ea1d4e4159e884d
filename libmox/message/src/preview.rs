//! The first words of a message, for lists.
//!
//! Law: RFC 8970 §3; row ST-40: at most 256 characters, quoted text as `[...]`, markup left out.
//! Works on pieces of the first text part as they pass by; holds a line and a few words.
//! Fails with: nothing.

use crate::decoded::Decoded;
use crate::limits;

/// Reads one text part.
pub(crate) struct Preview {
    decoded: Decoded,
    strip: Strip,
}

enum Strip {
    Plain(Plain),
    Html(Box<Html<Out>>),
}

/// Where shown text goes.
pub(crate) trait Sink {
    /// Whether quoted text is text.
    const SHOWS_QUOTES: bool;
    fn char(&mut self, c: char);
    fn gap(&mut self);
    fn quote(&mut self);
    fn full(&self) -> bool;
    /// A character behind the name of a tag, which is not shown.
    fn attribute(&mut self, _: char) {}
}

impl Strip {
    /// Whether no more is needed.
    fn feed(&mut self, text: &str) -> bool {
        match self {
            Self::Plain(plain) => plain.feed(text),
            Self::Html(html) => html.feed(text),
        }
    }
}

impl Preview {
    pub(crate) fn new(html: bool, charset: Option<&[u8]>, encoding: Option<&[u8]>) -> Self {
        Self {
            decoded: Decoded::new(charset, encoding, 0, limits::PREVIEW_INPUT),
            strip: if html {
                Strip::Html(Box::new(Html::new(Out::default())))
            } else {
                Strip::Plain(Plain::default())
            },
        }
    }

    /// A piece of the body; false once no more is needed.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> bool {
        let full = self.strip.feed(self.decoded.feed(piece));
        !full && !self.decoded.full()
    }

    pub(crate) fn finish(mut self) -> String {
        self.strip.feed(self.decoded.finish());
        match self.strip {
            Strip::Plain(plain) => plain.finish(),
            Strip::Html(html) => html.out.finish(),
        }
    }
}

/// Text with single spaces, no longer than the limit.
#[derive(Default)]
struct Out {
    text: String,
    chars: usize,
    gap: bool,
    quoted: bool,
}

impl Out {
    fn full(&self) -> bool {
        self.chars >= limits::PREVIEW_CHARS
    }

    fn char(&mut self, c: char) {
        if c.is_whitespace()
            || c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{34f}' | '\u{ad}')
        {
            self.gap = true;
            return;
        }
        if self.gap && self.chars > 0 && !self.full() {
            self.text.push(' ');
            self.chars += 1;
        }
        self.gap = false;
        if !self.full() {
            self.text.push(c);
            self.chars += 1;
            self.quoted = false;
        }
    }

    /// `[...]`, once for neighbouring quotes.
    fn quote(&mut self) {
        if !self.quoted {
            self.gap = true;
            "[...]".chars().for_each(|c| self.char(c));
            self.gap = true;
            self.quoted = true;
        }
    }

    fn finish(mut self) -> String {
        self.text.truncate(self.text.trim_end().len());
        self.text
    }
}

/// Lines of plain text. A line is held until the next one says whether it announced a quote.
#[derive(Default)]
struct Plain {
    out: Out,
    line: String,
    before: Option<String>,
    ended: bool,
}

/// Characters of a line that are kept; the preview has fewer.
const LINE: usize = 2 * limits::PREVIEW_CHARS;

impl Plain {
    fn feed(&mut self, text: &str) -> bool {
        for c in text.chars() {
            if self.ended || self.out.full() {
                return true;
            }
            if c == '\n' {
                self.line();
            } else if self.line.len() < LINE * 4 {
                self.line.push(c);
            }
        }
        self.ended || self.out.full()
    }

    fn line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let trimmed = line.trim();
        if trimmed.is_empty() {
            return;
        }
        // RFC 3676 §4.3: what follows is the signature.
        if line.trim_end_matches('\r') == "-- " {
            self.ended = true;
            return;
        }
        if trimmed.starts_with('>') {
            // "On ..., ... wrote:" belongs to the quote.
            if let Some(before) = self.before.take()
                && !before.ends_with(':')
            {
                self.write(&before);
            }
            self.out.quote();
            return;
        }
        if let Some(before) = self.before.replace(trimmed.to_string()) {
            self.write(&before);
        }
    }

    fn write(&mut self, line: &str) {
        self.out.gap = true;
        line.chars().for_each(|c| self.out.char(c));
    }

    fn finish(mut self) -> String {
        if !self.ended {
            self.line();
        }
        if let Some(before) = self.before.take() {
            self.write(&before);
        }
        self.out.finish()
    }
}

impl Sink for Out {
    const SHOWS_QUOTES: bool = false;
    fn char(&mut self, c: char) {
        Out::char(self, c);
    }
    fn gap(&mut self) {
        self.gap = true;
    }
    fn quote(&mut self) {
        Out::quote(self);
    }
    fn full(&self) -> bool {
        Out::full(self)
    }
}

/// Markup, well-formed or not.
pub(crate) struct Html<S> {
    pub(crate) out: S,
    state: Markup,
    /// The name of a tag, the start of a comment, or an entity.
    word: String,
    /// Inside this element nothing is text.
    hidden: Option<String>,
    quotes: u32,
    entity: bool,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Markup {
    #[default]
    Text,
    /// Behind `<`.
    Name,
    /// Behind the name; the quote sign that is open, if any.
    Tag(Option<char>),
    /// In `<!-- -->`, with the dashes seen last.
    Comment(u8),
}

/// Characters of a tag name or entity that matter.
const WORD: usize = 12;

impl<S: Sink> Html<S> {
    pub(crate) fn new(out: S) -> Self {
        Self { out, state: Markup::Text, word: String::new(), hidden: None, quotes: 0, entity: false }
    }

    pub(crate) fn feed(&mut self, text: &str) -> bool {
        for c in text.chars() {
            if self.out.full() {
                return true;
            }
            self.one(c);
        }
        self.out.full()
    }

    fn one(&mut self, c: char) {
        match self.state {
            Markup::Text => self.text(c),
            Markup::Name => match c {
                // In a script only its own end is markup.
                c if self.hidden.is_some() && self.word.is_empty() && c != '/' => self.state = Markup::Text,
                '>' => self.tag(),
                _ if self.word == "!-" && c == '-' => {
                    self.state = Markup::Comment(0);
                }
                c if c.is_whitespace() && self.word.is_empty() => {
                    // `a < b` is text.
                    self.state = Markup::Text;
                    self.shown('<');
                    self.shown(c);
                }
                c if c.is_whitespace() => self.state = Markup::Tag(None),
                '/' if !self.word.is_empty() => self.state = Markup::Tag(None),
                c if self.word.len() < WORD => self.word.extend(c.to_lowercase()),
                _ => {}
            },
            Markup::Tag(None) => {
                self.attribute(c);
                match c {
                    '>' => self.tag(),
                    '"' | '\'' => self.state = Markup::Tag(Some(c)),
                    _ => {}
                }
            }
            Markup::Tag(Some(quote)) => {
                self.attribute(c);
                if c == quote {
                    self.state = Markup::Tag(None);
                }
            }
            Markup::Comment(dashes) => {
                self.state = match c {
                    '-' => Markup::Comment((dashes + 1).min(2)),
                    '>' if dashes == 2 => {
                        self.word.clear();
                        Markup::Text
                    }
                    _ => Markup::Comment(0),
                };
            }
        }
    }

    fn attribute(&mut self, c: char) {
        if self.hidden.is_none() {
            self.out.attribute(c);
        }
    }

    fn text(&mut self, c: char) {
        if self.entity {
            if c == ';' {
                self.entity = false;
                let word = std::mem::take(&mut self.word);
                match entity(&word) {
                    Some(c) => self.shown(c),
                    None => self.literal(&word, Some(';')),
                }
                return;
            }
            if self.word.len() < WORD && (c.is_ascii_alphanumeric() || c == '#') {
                self.word.push(c);
                return;
            }
            self.entity = false;
            let word = std::mem::take(&mut self.word);
            self.literal(&word, None);
        }
        match c {
            '<' => {
                self.state = Markup::Name;
                self.word.clear();
            }
            '&' => {
                self.entity = true;
                self.word.clear();
            }
            c => self.shown(c),
        }
    }

    fn literal(&mut self, word: &str, end: Option<char>) {
        self.shown('&');
        word.chars().chain(end).for_each(|c| self.shown(c));
    }

    fn shown(&mut self, c: char) {
        if self.hidden.is_none() && (S::SHOWS_QUOTES || self.quotes == 0) {
            self.out.char(c);
        }
    }

    fn tag(&mut self) {
        self.state = Markup::Text;
        let word = std::mem::take(&mut self.word);
        if let Some(hidden) = &self.hidden {
            if word.strip_prefix('/') == Some(hidden) {
                self.hidden = None;
            }
            return;
        }
        match word.as_str() {
            "script" | "style" | "title" | "head" | "template" => self.hidden = Some(word),
            "blockquote" => {
                self.out.quote();
                self.quotes = self.quotes.saturating_add(1);
            }
            "/blockquote" => self.quotes = self.quotes.saturating_sub(1),
            // Words inside a line stay together.
            "b" | "/b" | "i" | "/i" | "u" | "/u" | "a" | "/a" | "em" | "/em" | "strong" | "/strong"
            | "span" | "/span" | "font" | "/font" | "wbr" | "small" | "/small" | "code" | "/code" => {}
            _ => self.out.gap(),
        }
    }
}

fn entity(word: &str) -> Option<char> {
    if let Some(number) = word.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code);
    }
    Some(match word {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" | "ensp" | "emsp" | "thinsp" | "zwnj" | "zwj" | "shy" => ' ',
        "rsquo" => '\u{2019}',
        "lsquo" => '\u{2018}',
        "rdquo" => '\u{201d}',
        "ldquo" => '\u{201c}',
        "ndash" => '\u{2013}',
        "mdash" => '\u{2014}',
        "hellip" => '\u{2026}',
        "euro" => '\u{20ac}',
        "copy" => '\u{a9}',
        "auml" => '\u{e4}',
        "ouml" => '\u{f6}',
        "uuml" => '\u{fc}',
        "Auml" => '\u{c4}',
        "Ouml" => '\u{d6}',
        "Uuml" => '\u{dc}',
        "szlig" => '\u{df}',
        "eacute" => '\u{e9}',
        "egrave" => '\u{e8}',
        "agrave" => '\u{e0}',
        "ccedil" => '\u{e7}',
        "ntilde" => '\u{f1}',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn shows(html: bool, text: &str, want: &str) {
        for size in [1, 2, 7, text.len().max(1)] {
            let mut preview = Preview::new(html, None, None);
            for piece in text.as_bytes().chunks(size) {
                if !preview.feed(piece) {
                    break;
                }
            }
            assert_eq!(preview.finish(), want, "{text:?} in pieces of {size}");
        }
    }

    #[test]
    fn plain_text_without_quotes_and_signature() {
        shows(false, "Hello\r\n  world \r\n\r\nbye\r\n", "Hello world bye");
        shows(false, "On Monday, Eve wrote:\r\n> a\r\n>> b\r\n\r\nI agree\r\n-- \r\nme", "[...] I agree");
        shows(false, "Yes:\r\n\r\nno\r\n> x\r\nend", "Yes: no [...] end");
        shows(false, "", "");
        shows(false, &"\u{e9}".repeat(300), &"\u{e9}".repeat(256));
    }

    #[test]
    fn markup_is_left_out() {
        shows(
            true,
            "<html><head><title>t</title><style>p{}</style></head><body><p>a <b>b</b>c</p><br/>d&amp;&#233;&#x2d;&no; e&nbsp;f",
            "a bc d&\u{e9}-&no; e f",
        );
        shows(true, "<!-- x > <p> -->a<!--->b--> < c <img alt='>'>d", "a < c d");
        shows(true, "x<blockquote>q<blockquote>r</blockquote></blockquote>y", "x [...] y");
        shows(true, "<script>if (a<b) {}</script>z", "z");
        shows(true, "<", "");
    }
}
