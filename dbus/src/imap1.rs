//! `org.libmox.Imap1` on `org.libmox.Imap1`.

/// Client side.
#[zbus::proxy(
    interface = "org.libmox.Imap1",
    default_service = "org.libmox.Imap1",
    default_path = "/org/libmox"
)]
pub trait Imap {
    /// See the interface file.
    fn serve(&self, token: &str, socket: zbus::Fd<'_>) -> zbus::Result<()>;
}
