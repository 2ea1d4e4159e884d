//! What is done to a folder without a server: `mox-store verifydata|restore|rebuild|gentestdata`, run by `mox`.
//!
//! Takes the folder's lock like the server, so the two never work on one folder. Prints what it found, one line each;
//! exit code 0: all is well, 1: something is wrong with the data, 2: it could not be done.

use crate::check;
use crate::engine::{Engine, FileName, MANIFEST, OpenError, Options};
use crate::keys;
use crate::records::{Cold, encode};
use crate::store::Store;
use crate::testdata;
use crate::writer::{Arrival, NewMessage, Writer};
use libmox_store::{Facts, Fault, Marks};
use libmox_types::{
    AccountId, Flag, Flags, MailboxId, MailboxName, MsgId, SpecialUse, Timestamp, UidValidity,
};
use rustix::fs::FlockOperation;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The arguments.
    #[error("{0}")]
    Usage(String),
    /// Somebody uses the folder.
    #[error(
        "{0} is in use; stop the store first, or use \"mox check\" and \"mox backup\", which need no stop"
    )]
    InUse(PathBuf),
    /// It is not what it should be.
    #[error("{0}")]
    Data(String),
    /// The engine.
    #[error("{}", chain(.0))]
    Open(#[from] OpenError),
    /// The store.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The file system.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> OfflineError {
    let path = path.to_owned();
    move |source| OfflineError::Io { path, source }
}

/// Runs one of the commands; `None` if there is no argument: then the server is meant.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command for people and for mox")]
pub fn run(arguments: &[String]) -> Option<ExitCode> {
    let (command, rest) = arguments.split_first()?;
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let outcome = match (command.as_str(), &rest[..]) {
        ("verifydata", [folder]) => verify(Path::new(folder)),
        ("restore", [backup, folder]) => restore(Path::new(backup), Path::new(folder)).map(|line| vec![line]),
        ("rebuild", [folder]) => on_runtime(rebuild(Path::new(folder))).inspect(|lines| {
            lines.iter().for_each(|line| println!("{line}"));
        }),
        ("gentestdata", [folder, accounts, messages]) => match (accounts.parse(), messages.parse()) {
            (Ok(accounts), Ok(messages)) => {
                on_runtime(generate(Path::new(folder), accounts, messages)).map(|()| Vec::new())
            }
            _ => Err(OfflineError::Usage("numbers of accounts and messages are wanted".into())),
        },
        _ => Err(OfflineError::Usage(
            "usage: mox-store [verifydata DIR | restore BACKUP DIR | rebuild DIR | gentestdata DIR ACCOUNTS MESSAGES]".into(),
        )),
    };
    Some(match outcome {
        Ok(lines) if lines.is_empty() || command != "verifydata" => {
            if command == "restore" {
                lines.iter().for_each(|line| println!("{line}"));
            }
            ExitCode::SUCCESS
        }
        Ok(lines) => {
            lines.iter().for_each(|line| println!("{line}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    })
}

fn on_runtime<T>(work: impl Future<Output = Result<T, OfflineError>>) -> Result<T, OfflineError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(at(Path::new("runtime")))?.block_on(work)
}

/// A folder below the system's temporary one, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, OfflineError> {
        let name = format!("mox-store-{}-{:x}", std::process::id(), libmox_service::clock::random_u64());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).map_err(at(&path))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Holds the folder for as long as it lives. A backup has no lock file, and gets none.
fn hold(folder: &Path) -> Result<Option<File>, OfflineError> {
    let path = folder.join("lock");
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(at(&path))?,
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OfflineError::InUse(folder.to_owned())),
        Err(error) => Err(at(&path)(error.into())),
    }
}

/// What is wrong with a folder, a backup for instance. The index is built anew beside it, from snapshot and journal;
/// nothing in the folder is changed.
pub fn verify(folder: &Path) -> Result<Vec<String>, OfflineError> {
    let _held = hold(folder)?;
    let journal = folder.join("journal");
    if !journal.is_dir() {
        return Err(OfflineError::Data(format!("{} is no data folder: it has no journal", folder.display())));
    }
    let mut lines = Vec::new();
    // A live folder has a state; a backup has a manifest, written last.
    let live = folder.join("index/state").exists();
    if !live && !folder.join(MANIFEST).exists() {
        lines.push(format!("{}: the backup is not whole, it was interrupted", folder.display()));
    }
    let scratch = Scratch::new()?;
    for part in ["journal", "index"] {
        let (from, to) = (folder.join(part), scratch.0.join(part));
        fs::create_dir_all(&to).map_err(at(&to))?;
        for entry in fs::read_dir(&from).map_err(at(&from))? {
            let entry = entry.map_err(at(&from))?;
            let name = entry.file_name();
            let wanted = name.to_str().is_some_and(|n| n.ends_with(".seg") || n.starts_with("snapshot-"));
            if wanted {
                fs::copy(entry.path(), to.join(&name)).map_err(at(&entry.path()))?;
            }
        }
    }
    let options = Options {
        look_only: Some(folder.to_owned()),
        reserve_bytes: 0,
        segment_bytes: 64 << 10,
        ..Options::new(&scratch.0, None)
    };
    let engine = Engine::open(options)?;
    lines.extend(check::check_alone(&engine)?);
    Ok(lines)
}

/// Copies a backup to where a store can open it; the folder must be missing or empty. What is copied is checked first.
pub fn restore(backup: &Path, folder: &Path) -> Result<String, OfflineError> {
    let wrong = verify(backup)?;
    if !wrong.is_empty() {
        let some: Vec<_> = wrong.iter().take(5).cloned().collect();
        return Err(OfflineError::Data(format!("the backup is not sound: {}", some.join("; "))));
    }
    fs::create_dir_all(folder).map_err(at(folder))?;
    if fs::read_dir(folder).map_err(at(folder))?.next().is_some() {
        return Err(OfflineError::Data(format!("{} is not empty", folder.display())));
    }
    let owner = rustix::fs::stat(folder).map_err(|error| at(folder)(error.into()))?;
    let owner = Some((owner.st_uid, owner.st_gid)).filter(|_| rustix::process::geteuid().is_root());
    let mut files = 0;
    for part in ["accounts", "queue", "journal", "index"] {
        if backup.join(part).exists() {
            copy_below(&backup.join(part), &folder.join(part), owner, &mut files)?;
        }
    }
    let file = File::open(folder).map_err(at(folder))?;
    rustix::fs::syncfs(&file).map_err(|error| at(folder)(error.into()))?;
    Ok(format!("{files} files restored to {}", folder.display()))
}

fn copy_below(
    from: &Path,
    to: &Path,
    owner: Option<(u32, u32)>,
    files: &mut u64,
) -> Result<(), OfflineError> {
    let own = |path: &Path| match owner {
        Some((uid, gid)) => std::os::unix::fs::chown(path, Some(uid), Some(gid)).map_err(at(path)),
        None => Ok(()),
    };
    fs::create_dir(to).map_err(at(to))?;
    own(to)?;
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(at(&path))?.is_dir() {
            copy_below(&path, &target, owner, files)?;
        } else {
            fs::copy(&path, &target).map_err(at(&path))?;
            own(&target)?;
            *files += 1;
        }
    }
    Ok(())
}

/// With nothing left but message files: a new index that has every one of them, unread, in the Inbox of its account.
/// Flags, mailboxes, passwords, the queue and headers made at delivery are lost; what was there is moved aside.
pub async fn rebuild(folder: &Path) -> Result<Vec<String>, OfflineError> {
    let accounts = folder.join("accounts");
    if !accounts.is_dir() {
        return Err(OfflineError::Data(format!("{} has no accounts", folder.display())));
    }
    drop(hold(folder)?);
    let now = libmox_service::clock::now();
    let aside = folder.join(format!("aside-{}", now.0));
    fs::create_dir(&aside).map_err(at(&aside))?;
    for part in ["index", "journal", "staging", "queue"] {
        let path = folder.join(part);
        if path.exists() {
            fs::rename(&path, aside.join(part)).map_err(at(&path))?;
        }
    }
    let engine = Engine::open(Options { reserve_bytes: 0, ..Options::new(folder, None) })?;
    let mut lines = vec![
        "THE INDEX IS BUILT FROM MESSAGE FILES ALONE: flags, mailboxes, passwords and the queue are lost"
            .into(),
        format!("what was there is in {}", aside.display()),
    ];
    let mut next = 1;
    for owner in engine.files().owners().map_err(at(&accounts))? {
        let Some(id) = u32::try_from(owner).ok().filter(|id| *id > 0) else { continue };
        next = next.max(id + 1);
        let name = fs::read_to_string(accounts.join(owner.to_string()).join("name"))
            .ok()
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| format!("account{owner}"));
        let count = rebuild_account(&engine, AccountId(id), &name, now).await?;
        lines.push(format!("{name}: {count} messages in Inbox"));
    }
    let mut tx = engine.begin_now();
    tx.change().put(keys::ACCOUNTS, encode(&AccountId(next)));
    tx.change().put(keys::VERSION, encode(&keys::FORMAT));
    let salt: Vec<u8> = (0..4).flat_map(|_| libmox_service::clock::random_u64().to_le_bytes()).collect();
    tx.change().put(keys::SALT, encode(&salt));
    tx.commit().await.map_err(Fault::from)?;
    lines.extend(check::check_alone(&engine)?);
    engine.snapshot().await.map_err(OfflineError::Data)?;
    tokio::task::spawn_blocking(move || engine.close())
        .await
        .map_err(|_| Fault::Internal)?
        .map_err(OfflineError::Data)?;
    Ok(lines)
}

async fn rebuild_account(
    engine: &Engine,
    id: AccountId,
    name: &str,
    now: Timestamp,
) -> Result<usize, OfflineError> {
    let mut tx = engine.begin_now();
    let mut writer = Writer::create(&mut tx, id, name, now);
    // Above whatever clients have seen.
    writer.account.next_uid_validity = UidValidity(u32::try_from(now.0).unwrap_or(u32::MAX / 2));
    let inbox = writer.create_mailbox(&MailboxName::inbox())?;
    for (text, one) in [
        ("Sent", SpecialUse::Sent),
        ("Archive", SpecialUse::Archive),
        ("Trash", SpecialUse::Trash),
        ("Drafts", SpecialUse::Drafts),
        ("Junk", SpecialUse::Junk),
    ] {
        let mailbox = MailboxName::parse(text).map_err(|_| Fault::Internal)?;
        let mailbox = writer.create_mailbox(&mailbox)?;
        let record = writer.change_mailbox(mailbox)?;
        record.special_use = record.special_use.with(one);
    }
    writer.finish();
    tx.commit().await.map_err(Fault::from)?;
    let files = engine.files().list(u64::from(id.0)).map_err(at(Path::new("accounts")))?;
    for part in files.chunks(1000) {
        let mut tx = engine.begin_now();
        let mut writer = Writer::open(&mut tx, id)?;
        for number in part {
            let path = engine.files().path(FileName { owner: u64::from(id.0), id: *number });
            let data = fs::metadata(&path).map_err(at(&path))?;
            let modified = data.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
            let received =
                modified.map_or(now, |since| Timestamp(i64::try_from(since.as_secs()).unwrap_or(0)));
            writer.account.next_message = MsgId(*number);
            let new = NewMessage {
                flags: Flags::NONE,
                keywords: Vec::new(),
                received,
                saved: now,
                file: data.len(),
                cold: Cold { prefix: Vec::new(), facts: Facts::default(), origin: None },
                arrival: Arrival::Placed,
                marks: Marks::NONE,
                destined: MailboxId(0),
            };
            writer.add(inbox, new)?;
        }
        writer.finish();
        tx.commit().await.map_err(Fault::from)?;
    }
    Ok(files.len())
}

/// A new store with made-up mail: flags, keywords, tombstones, several mailboxes, a queue.
pub async fn generate(folder: &Path, accounts: usize, messages: usize) -> Result<(), OfflineError> {
    fs::create_dir_all(folder).map_err(at(folder))?;
    if fs::read_dir(folder).map_err(at(folder))?.next().is_some() {
        return Err(OfflineError::Data(format!("{} is not empty", folder.display())));
    }
    let directory = testdata::directory(accounts).ok_or(Fault::Internal)?;
    let options = Options { reserve_bytes: 0, ..Options::new(folder, None) };
    let store = Store::start(options, directory, Arc::new(libmox_service::clock::now)).await;
    let store = store.map_err(|error| OfflineError::Data(chain(&error)))?;
    for number in 0..accounts {
        let name = format!("test{number}");
        testdata::fill(&store, &name, 5, messages).await?;
        testdata::remove_some(&store, &name, messages / 20).await?;
        testdata::enqueue(&store, &name).await?;
    }
    if accounts > 0 {
        testdata::flag_all(&store, "test0", Flag::Flagged).await?;
    }
    store.engine.settled().await;
    store.sweep(true).await;
    let closing = tokio::task::spawn_blocking(move || store.engine.close());
    closing.await.map_err(|_| Fault::Internal)?.map_err(OfflineError::Data)
}
