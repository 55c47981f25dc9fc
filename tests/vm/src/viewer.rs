//! A viewer of a machine's screen over QEMU's VNC server (RFC 6143), as far as it has a window, whose size
//! the screen is to have.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The server's socket in a machine's folder.
pub(crate) const SOCKET: &str = "viewer";

/// A connection.
pub(crate) struct Viewer(UnixStream);

impl Viewer {
    /// Connects to the server of a machine that has this folder.
    pub(crate) fn of(folder: &Path) -> Result<Self> {
        const VERSION: &[u8; 12] = b"RFB 003.008\n";
        const NOBODY_ASKS: u8 = 1;
        const SHARED: u8 = 1;
        let stream = UnixStream::connect(folder.join(SOCKET)).context("the viewer")?;
        let mut viewer = Self(stream);
        if &viewer.take::<12>()? != VERSION {
            bail!("another protocol");
        }
        viewer.0.write_all(VERSION)?;
        let [count] = viewer.take()?;
        let ways = viewer.take_some(count.into())?;
        if !ways.contains(&NOBODY_ASKS) {
            bail!("ways to say who one is: {ways:?}");
        }
        viewer.0.write_all(&[NOBODY_ASKS])?;
        if viewer.take()? != [0; 4] {
            bail!("refused");
        }
        viewer.0.write_all(&[SHARED])?;
        // Size, format, and the name's length.
        let told: [u8; 24] = viewer.take()?;
        let [.., a, b, c, d] = told;
        viewer.take_some(u32::from_be_bytes([a, b, c, d]) as usize)?;
        Ok(viewer)
    }

    fn take<const COUNT: usize>(&mut self) -> Result<[u8; COUNT]> {
        let mut bytes = [0; COUNT];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn take_some(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The window has this size now (SetDesktopSize of the protocol's registry: one screen).
    pub(crate) fn resize(&mut self, width: u16, height: u16) -> Result<()> {
        const SET_DESKTOP_SIZE: u8 = 251;
        let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
        let screen = [&[0; 8][..], &size, &[0; 4]].concat();
        let message = [&[SET_DESKTOP_SIZE, 0][..], &size, &[1, 0], &screen].concat();
        Ok(self.0.write_all(&message)?)
    }
}
