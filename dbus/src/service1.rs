//! `org.libmox.Service1`, which every service has.

use std::collections::HashMap;

/// Client side; the destination is the service's own name.
#[zbus::proxy(interface = "org.libmox.Service1", default_path = "/org/libmox")]
pub trait Service {
    /// See the interface file.
    fn reload(&self) -> zbus::Result<()>;
    /// See the interface file.
    fn stop(&self) -> zbus::Result<()>;
    /// See the interface file.
    fn set_log_level(&self, level: &str) -> zbus::Result<()>;
    /// See the interface file.
    #[zbus(property)]
    fn name(&self) -> zbus::Result<String>;
    /// See the interface file.
    #[zbus(property)]
    fn version(&self) -> zbus::Result<String>;
    /// See the interface file.
    #[zbus(property(emits_changed_signal = "false"))]
    fn state(&self) -> zbus::Result<String>;
    /// See the interface file.
    #[zbus(property)]
    fn started(&self) -> zbus::Result<i64>;
    /// See the interface file.
    #[zbus(property(emits_changed_signal = "false"))]
    fn connections(&self) -> zbus::Result<u32>;
    /// See the interface file.
    #[zbus(property(emits_changed_signal = "false"))]
    fn log_level(&self) -> zbus::Result<String>;
    /// See the interface file.
    #[zbus(property(emits_changed_signal = "false"))]
    fn metrics(&self) -> zbus::Result<HashMap<String, u64>>;
}
