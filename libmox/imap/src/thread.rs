//! Messages grouped into threads.
//!
//! Law: RFC 5256 §3 (ORDEREDSUBJECT, REFERENCES) and §4 `THREAD`.
//! Does not know: where the messages are.
//! Cost: a walk up the ancestors is bounded by `WALK`; nothing recurses, however deep references nest.

use crate::response::{put, write_to};
use libmox_types::{Timestamp, Uid};
use std::collections::HashMap;

/// Ancestors looked at before a message is moved below another; beyond that it stays where it is.
const WALK: usize = 10_000;

/// What a message is grouped by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Threaded {
    /// Which.
    pub uid: Uid,
    /// When it was sent, or came.
    pub sent: Timestamp,
    /// Subject without what marks an answer.
    pub base_subject: String,
    /// Whether something marked it as an answer.
    pub answer: bool,
    /// Message-ID, if it has one.
    pub message_id: Option<String>,
    /// Ancestors, the nearest last.
    pub references: Vec<String>,
}

#[derive(Debug, Default)]
struct Node {
    /// None for an ancestor that is not there.
    message: Option<usize>,
    parent: Option<usize>,
    children: Vec<usize>,
}

/// Threads, oldest first.
#[derive(Debug, Default)]
pub struct Threads {
    nodes: Vec<Node>,
    uids: Vec<Uid>,
    roots: Vec<usize>,
}

impl Threads {
    /// RFC 5256 §3 ORDEREDSUBJECT.
    #[must_use]
    pub fn by_subject(mut messages: Vec<Threaded>) -> Self {
        messages.sort_by(|a, b| (&a.base_subject, a.sent, a.uid).cmp(&(&b.base_subject, b.sent, b.uid)));
        let mut threads = Self::default();
        for (at, message) in messages.iter().enumerate() {
            threads.uids.push(message.uid);
            threads.nodes.push(Node { message: Some(at), ..Node::default() });
            match threads.roots.last() {
                Some(&root) if messages[root].base_subject == message.base_subject => {
                    threads.nodes[root].children.push(at);
                }
                _ => threads.roots.push(at),
            }
        }
        threads.roots.sort_by_key(|root| (messages[*root].sent, messages[*root].uid));
        threads
    }

    /// RFC 5256 §3 REFERENCES.
    #[must_use]
    pub fn by_references(messages: &[Threaded]) -> Self {
        let mut builder = Builder { messages, ..Builder::default() };
        // Step 1.
        for at in 0..messages.len() {
            builder.place(at);
        }
        // Steps 2 to 6.
        let roots = builder.prune();
        let roots = builder.join_subjects(roots);
        builder.sort(roots)
    }

    /// `(1 2)(3 (4)(5))`. Messages without a number are left out.
    pub fn write(&self, out: &mut Vec<u8>, number: impl Fn(Uid) -> Option<u32>) {
        enum Do {
            Node(usize),
            Put(&'static str),
        }
        let mut stack: Vec<Do> = Vec::new();
        for &root in self.roots.iter().rev() {
            stack.extend([Do::Put(")"), Do::Node(root), Do::Put("(")]);
        }
        while let Some(next) = stack.pop() {
            let node = match next {
                Do::Put(text) => {
                    put(out, text);
                    continue;
                }
                Do::Node(at) => &self.nodes[at],
            };
            let named = node.message.and_then(|at| self.uids.get(at)).and_then(|uid| number(*uid));
            if let Some(number) = named {
                write_to(out, format_args!("{number}"));
            }
            match node.children[..] {
                [] => {}
                [child] => {
                    stack.push(Do::Node(child));
                    if named.is_some() {
                        stack.push(Do::Put(" "));
                    }
                }
                _ => {
                    for &child in node.children.iter().rev() {
                        stack.extend([Do::Put(")"), Do::Node(child), Do::Put("(")]);
                    }
                    if named.is_some() {
                        stack.push(Do::Put(" "));
                    }
                }
            }
        }
    }
}

#[derive(Default)]
struct Builder<'a> {
    messages: &'a [Threaded],
    nodes: Vec<Node>,
    ids: HashMap<&'a str, usize>,
    /// Which tree a node is in, as far as it was joined; a representative in steps.
    tree: Vec<usize>,
}

impl<'a> Builder<'a> {
    fn node(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.tree.push(self.tree.len());
        self.nodes.len() - 1
    }

    fn of_id(&mut self, id: &'a str) -> usize {
        if let Some(at) = self.ids.get(id) {
            return *at;
        }
        let at = self.node();
        self.ids.insert(id, at);
        at
    }

    fn tree_of(&mut self, mut at: usize) -> usize {
        while self.tree[at] != at {
            self.tree[at] = self.tree[self.tree[at]];
            at = self.tree[at];
        }
        at
    }

    /// A node without a parent gets one, unless that would close a loop.
    fn adopt(&mut self, parent: usize, child: usize) {
        let (a, b) = (self.tree_of(parent), self.tree_of(child));
        if a != b {
            self.tree[b] = a;
            self.nodes[child].parent = Some(parent);
            self.nodes[parent].children.push(child);
        }
    }

    fn is_above(&self, node: usize, below: usize) -> bool {
        let mut at = Some(below);
        for _ in 0..WALK {
            match at {
                None => return false,
                Some(here) if here == node => return true,
                Some(here) => at = self.nodes[here].parent,
            }
        }
        true
    }

    fn leave(&mut self, child: usize) {
        if let Some(parent) = self.nodes[child].parent.take() {
            self.nodes[parent].children.retain(|other| *other != child);
        }
    }

    fn place(&mut self, at: usize) {
        let message = &self.messages[at];
        // Of two messages with one id the second has none.
        let own = match &message.message_id {
            Some(id) => {
                let node = self.of_id(id);
                if self.nodes[node].message.is_none() { node } else { self.node() }
            }
            None => self.node(),
        };
        self.nodes[own].message = Some(at);
        let mut parent: Option<usize> = None;
        for id in &message.references {
            let node = self.of_id(id);
            if let Some(parent) = parent
                && parent != node
                && self.nodes[node].parent.is_none()
            {
                self.adopt(parent, node);
            }
            parent = Some(node);
        }
        let Some(parent) = parent.filter(|parent| *parent != own) else { return };
        match self.nodes[own].parent {
            Some(before) if before == parent => {}
            // What others said of it gives way to what it says itself.
            Some(_) if !self.is_above(own, parent) => {
                self.leave(own);
                self.nodes[own].parent = Some(parent);
                self.nodes[parent].children.push(own);
            }
            Some(_) => {}
            None => self.adopt(parent, own),
        }
    }

    /// Step 3: ancestors that are not there go, their children take their place; at the top only a lone one does.
    /// Gives back the roots.
    fn prune(&mut self) -> Vec<usize> {
        let roots: Vec<usize> = (0..self.nodes.len()).filter(|at| self.nodes[*at].parent.is_none()).collect();
        // Children before their parents.
        let mut order = roots.clone();
        let mut at = 0;
        while at < order.len() {
            order.extend_from_slice(&self.nodes[order[at]].children);
            at += 1;
        }
        for &node in order.iter().rev() {
            let children = std::mem::take(&mut self.nodes[node].children);
            let mut kept = Vec::with_capacity(children.len());
            for child in children {
                if self.nodes[child].message.is_some() {
                    kept.push(child);
                } else {
                    kept.append(&mut self.nodes[child].children);
                }
            }
            self.nodes[node].children = kept;
        }
        let mut left = Vec::new();
        for root in roots {
            match (self.nodes[root].message, &self.nodes[root].children[..]) {
                (None, []) => {}
                (None, [child]) => left.push(*child),
                _ => left.push(root),
            }
        }
        left
    }

    /// The message that stands for a root: itself, or the first below it.
    fn face(&self, root: usize) -> Option<&'a Threaded> {
        let node = &self.nodes[root];
        let at = node.message.or_else(|| {
            node.children
                .iter()
                .filter_map(|child| self.nodes[*child].message)
                .min_by_key(|at| (self.messages[*at].sent, self.messages[*at].uid))
        });
        at.map(|at| &self.messages[at])
    }

    fn when(&self, node: usize) -> (Timestamp, Uid) {
        self.face(node).map(|message| (message.sent, message.uid)).unwrap_or_default()
    }

    /// Steps 4 and 5: roots of one subject become one.
    fn join_subjects(&mut self, mut roots: Vec<usize>) -> Vec<usize> {
        roots.sort_by_cached_key(|root| self.when(*root));
        let mut table: HashMap<&'a str, usize> = HashMap::new();
        for &root in &roots {
            let Some(face) = self.face(root).filter(|face| !face.base_subject.is_empty()) else { continue };
            match table.get(&*face.base_subject).copied() {
                None => drop(table.insert(&face.base_subject, root)),
                Some(other) => {
                    let is_dummy = |node: usize| self.nodes[node].message.is_none();
                    let better = (is_dummy(root) && !is_dummy(other))
                        || (!is_dummy(other)
                            && self.face(other).is_some_and(|message| message.answer)
                            && !face.answer);
                    if better {
                        table.insert(&face.base_subject, root);
                    }
                }
            }
        }
        let mut gone = vec![false; self.nodes.len()];
        for &root in &roots {
            let Some(face) = self.face(root) else { continue };
            let Some(&other) = table.get(&*face.base_subject).filter(|_| !face.base_subject.is_empty())
            else {
                continue;
            };
            if other == root {
                continue;
            }
            let other_answer = self.face(other).is_some_and(|message| message.answer);
            match (self.nodes[root].message, self.nodes[other].message) {
                (None, None) => {
                    let mut children = std::mem::take(&mut self.nodes[root].children);
                    self.nodes[other].children.append(&mut children);
                    gone[root] = true;
                }
                (Some(_), None) => {
                    self.nodes[other].children.push(root);
                    gone[root] = true;
                }
                (Some(_), Some(_)) if face.answer && !other_answer => {
                    self.nodes[other].children.push(root);
                    gone[root] = true;
                }
                // Two of a kind: an ancestor that is not there stands above both, in the place of the other.
                (_, Some(message)) => {
                    let children = std::mem::take(&mut self.nodes[other].children);
                    let twin = self.node();
                    gone.push(false);
                    self.nodes[twin] = Node { message: Some(message), parent: Some(other), children };
                    self.nodes[other].message = None;
                    self.nodes[other].children = vec![twin, root];
                    gone[root] = true;
                }
            }
        }
        roots.retain(|root| !gone[*root]);
        roots
    }

    /// Step 6: siblings by date.
    fn sort(mut self, mut roots: Vec<usize>) -> Threads {
        for at in 0..self.nodes.len() {
            let mut children = std::mem::take(&mut self.nodes[at].children);
            children.sort_by_cached_key(|child| self.when(*child));
            self.nodes[at].children = children;
        }
        roots.sort_by_cached_key(|root| self.when(*root));
        let uids = self.messages.iter().map(|message| message.uid).collect();
        Threads { nodes: self.nodes, uids, roots }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(uid: u32, subject: &str, id: &str, references: &[&str]) -> Threaded {
        Threaded {
            uid: Uid(uid),
            sent: Timestamp(i64::from(uid)),
            base_subject: subject.trim_start_matches("re: ").into(),
            answer: subject.starts_with("re: "),
            message_id: (!id.is_empty()).then(|| id.into()),
            references: references.iter().map(ToString::to_string).collect(),
        }
    }

    fn written(threads: &Threads) -> String {
        let mut out = Vec::new();
        threads.write(&mut out, |uid| Some(uid.0));
        String::from_utf8(out).unwrap()
    }

    #[track_caller]
    fn threads(messages: &[Threaded], want: &str) {
        assert_eq!(written(&Threads::by_references(messages)), want);
    }

    #[test]
    fn references() {
        threads(&[message(1, "a", "a", &[]), message(2, "re: a", "b", &["a"])], "(1 2)");
        threads(
            &[message(1, "a", "a", &[]), message(2, "b", "b", &["a"]), message(3, "c", "c", &["a"])],
            "(1 (2)(3))",
        );
        // An ancestor that is not there holds two together, and is not seen above one.
        threads(&[message(1, "a", "b", &["x"]), message(2, "b", "c", &["x"])], "((1)(2))");
        threads(&[message(1, "a", "b", &["x"])], "(1)");
        // The answer came first.
        threads(&[message(1, "re: a", "b", &["a"]), message(2, "a", "a", &[])], "(2 1)");
        // Subjects join what references do not.
        threads(&[message(1, "a", "a", &[]), message(2, "re: a", "b", &[])], "(1 2)");
        threads(&[message(1, "a", "a", &[]), message(2, "a", "b", &[])], "((1)(2))");
        threads(&[message(1, "", "a", &[]), message(2, "", "b", &[])], "(1)(2)");
        // One id twice.
        threads(&[message(1, "a", "a", &[]), message(2, "b", "a", &[])], "(1)(2)");
        threads(&[], "");
    }

    #[test]
    fn ordered_subject() {
        let all = vec![
            message(5, "b", "", &[]),
            message(2, "a", "", &[]),
            message(3, "b", "", &[]),
            message(4, "re: a", "", &[]),
            message(6, "b", "", &[]),
        ];
        assert_eq!(written(&Threads::by_subject(all)), "(2 4)(3 (5)(6))");
    }

    #[test]
    fn loops_and_depth_do_no_harm() {
        threads(&[message(1, "a", "a", &["b"]), message(2, "b", "b", &["a"])], "(2 1)");
        threads(&[message(1, "a", "a", &["a"])], "(1)");
        let ids: Vec<String> = (0..30_000).map(|n| n.to_string()).collect();
        let deep: Vec<Threaded> =
            (1..30_000_u32).map(|n| message(n, "x", &ids[n as usize], &[&ids[n as usize - 1]])).collect();
        let text = written(&Threads::by_references(&deep));
        assert!(text.starts_with("(1 2 3 ") && text.ends_with(" 29999)"));
        let back: Vec<Threaded> =
            (1..29_999_u32).map(|n| message(n, "x", &ids[n as usize], &[&ids[n as usize + 1]])).collect();
        assert_eq!(written(&Threads::by_references(&back)).matches('(').count(), 1);
    }
}
