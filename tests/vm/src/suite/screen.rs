//! The console on a screen and a keyboard before it, as people would use them: keys through QEMU's
//! monitor, pictures read back as text.

mod depth;
mod size;
mod window;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::build::{self, Variant};
use crate::monitor::Monitor;
use crate::picture::{Colour, Picture};
use crate::process::Exit;
use crate::suite::{LIMIT, Set, Test};
use crate::vm::{BOOT_LIMIT, Mode, Running, Vm};

/// The host's side of the kernel: without it the machine stands alone, as a PC does.
const HOST_SIDE: [&str; 2] = [
    "-device isa-debugcon,iobase=0xe9,chardev=control",
    "-device isa-debug-exit,iobase=0xf4,iosize=4",
];
const SERIAL: &str = "-serial chardev:console";

/// A machine with something that shows pictures.
#[derive(Clone, Copy)]
struct Adapter {
    machine: &'static str,
    words: &'static str,
}

const VGA: Adapter = Adapter { machine: "q35", words: "-device VGA,romfile=" };
/// Pictures that do not lie in memory of the device.
const GPU: Adapter = Adapter { machine: "q35", words: "-device virtio-gpu-pci" };
const GPU_PC: Adapter = Adapter { machine: "pc", ..GPU };
/// A VGA besides, which shows nothing as long as nothing has set it up.
const GPU_VGA: Adapter = Adapter { machine: "q35", words: "-device virtio-vga" };
const GPU_MMIO: Adapter = Adapter {
    machine: "microvm",
    words: "-device virtio-gpu-device -device virtio-keyboard-device",
};

pub(super) fn tests() -> Vec<Test> {
    let own = |name: &str, set, run: fn(&Mode) -> Result<()>| {
        Test::new(format!("screen/{name}"), set, run).with_own_machine()
    };
    let mut tests = vec![
        own("card", Set::Core, |mode| card(mode, "card", VGA)),
        own("editor", Set::Core, |mode| editor(mode, "editor", VGA)),
        own("bubbletea", Set::Core, bubbletea),
        own("panic", Set::Core, |mode| panic(mode, "panic", VGA)),
        own("evdev", Set::Core, evdev),
        own("inject", Set::Core, |mode| inject(mode, "inject", VGA)),
        own("inject-microvm", Set::All, |mode| inject(mode, "inject-microvm", GPU_MMIO)),
        // A picture of the firmware's that no driver here knows.
        own("uefi", Set::Core, |mode| by_firmware(mode, "uefi", "ramfb", (37, 100))),
        own("uefi-vga", Set::All, |mode| by_firmware(mode, "uefi", "VGA", (50, 160))),
        own("uefi-cirrus", Set::All, |mode| by_firmware(mode, "uefi", "cirrus-vga", (37, 100))),
        own("bios", Set::All, |mode| by_firmware(mode, "bios", "virtio-vga", (30, 80))),
        // Of 24 bits a pixel.
        own("bios-cirrus", Set::Core, |mode| by_firmware(mode, "bios", "cirrus-vga", (30, 80))),
        own("bios-cirrus-framebuffer", Set::Core, |mode| {
            let name = "bios-cirrus-framebuffer";
            let screen = from_image(mode, name, "bios", "cirrus-vga", "programs/screen", &[])?;
            draws(screen, (640, 480))
        }),
        own("uefi-virtio", Set::All, |mode| by_firmware(mode, "uefi", "virtio-gpu-pci", (50, 160))),
        own("framebuffer", Set::Core, |mode| framebuffer(mode, "framebuffer", VGA)),
        own("gpu-card", Set::Core, |mode| card(mode, "gpu-card", GPU)),
        own("gpu-panic", Set::Core, |mode| panic(mode, "gpu-panic", GPU)),
        own("gpu-framebuffer", Set::Core, |mode| framebuffer(mode, "gpu-framebuffer", GPU)),
        own("gpu-pc", Set::All, |mode| editor(mode, "gpu-pc", GPU_PC)),
        own("gpu-vga", Set::All, |mode| card(mode, "gpu-vga", GPU_VGA)),
        own("gpu-microvm", Set::Core, |mode| editor(mode, "gpu-microvm", GPU_MMIO)),
        own("gpu-refused", Set::Core, gpu_refused),
        own("history", Set::All, history),
        own("keymap", Set::All, keymap),
        own("alone", Set::All, alone),
        own("no-keyboard", Set::All, no_keyboard),
    ];
    tests.extend(depth::tests());
    tests.extend(size::tests());
    tests.extend(window::tests());
    tests
}

/// A machine with a screen.
struct Screen {
    running: Running,
    monitor: Monitor,
    folder: PathBuf,
}

impl Screen {
    fn start(
        name: &str,
        vm: Vm,
        words: &str,
        change: impl FnOnce(String) -> String,
    ) -> Result<Self> {
        Self::start_on(VGA, name, vm, words, change)
    }

    /// The same with another adapter, on its machine.
    fn start_on(
        Adapter { machine, words: device }: Adapter,
        name: &str,
        vm: Vm,
        words: &str,
        change: impl FnOnce(String) -> String,
    ) -> Result<Self> {
        Self::start_with(name, vm.machine(machine), |line| {
            change(format!("{line} {device} -append '{words}'"))
        })
    }

    /// The same with all of QEMU's words.
    fn start_with(name: &str, vm: Vm, change: impl FnOnce(&str) -> String) -> Result<Self> {
        let folder = build::target().join("screen").join(name);
        let running = vm.start_qemu(&folder, change)?;
        let mut left = 200;
        let monitor = loop {
            match Monitor::of(&folder) {
                Ok(monitor) => break monitor,
                Err(error) if left == 0 => return Err(error),
                Err(_) => left -= 1,
            }
            thread::sleep(Duration::from_millis(50));
        };
        Ok(Self { running, monitor, folder })
    }

    /// The screen as it is now.
    fn picture(&mut self) -> Result<Picture> {
        let file = self.folder.join("picture.ppm");
        self.monitor.execute("screendump", &format!("\"filename\": \"{}\"", file.display()))?;
        Picture::read(&file)
    }

    /// Waits until the text is on the screen.
    fn wait_for(&mut self, text: &str) -> Result<Picture> {
        let until = Instant::now() + BOOT_LIMIT;
        loop {
            let picture = self.picture();
            match picture.and_then(|picture| picture.find(text).map(|_| picture)) {
                Ok(picture) => return Ok(picture),
                Err(error) if Instant::now() > until => return Err(self.running.explain(error)),
                Err(_) => {}
            }
            self.running.still_runs()?;
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Keeps it as it is now.
    fn save(&mut self) -> Result<()> {
        let file = self.folder.with_extension("png");
        self.picture()?.save(&file)
    }

    /// Presses keys, one after the other; `shift-a` holds one meanwhile (QEMU's names).
    fn press(&mut self, keys: &[&str]) -> Result<()> {
        for keys in keys {
            let list: Vec<String> = keys
                .split('-')
                .map(|key| format!("{{\"type\": \"qcode\", \"data\": \"{key}\"}}"))
                .collect();
            let list = format!("\"keys\": [{}], \"hold-time\": 30", list.join(", "));
            self.monitor.execute("send-key", &list)?;
            thread::sleep(Duration::from_millis(60));
        }
        Ok(())
    }
}

fn term(mode: &Mode, args: &[&str]) -> Result<Vm> {
    let elf = build::go("modules/term", build::NEWEST, Variant::Plain)?;
    Ok(Vm::of(&elf, mode).args(args))
}

/// Colours, boxes, blocks, wide text: by text, place and colour.
fn card(mode: &Mode, name: &str, adapter: Adapter) -> Result<()> {
    let vm = term(mode, &["card"])?;
    let mut screen = Screen::start_on(adapter, name, vm, "", |line| line)?;
    let picture = screen.wait_for("> ")?;
    let stored = include_str!("../../pictures/card.txt");
    if picture.all().trim_end() != stored.trim_end() {
        bail!("not as stored:\n{}\n--- stored\n{stored}", picture.all());
    }
    let [red, orange] = [&picture.rows[1][2], &picture.rows[1][33]];
    if red.back != [170, 0, 0] || orange.front != [255, 128, 0] || orange.character != 't' {
        bail!("colours: {red:?}, {orange:?}");
    }
    let reverse = &picture.rows[1][picture.text(1).chars().count() - "reverse".len()];
    if reverse.back != [204, 204, 204] || reverse.front != [0, 0, 0] {
        bail!("reverse: {reverse:?}");
    }
    screen.save()?;
    screen.press(&["ctrl-c"])?;
    screen.running.expect_orderly("exit 0", LIMIT)
}

/// Makes an image of a program, of a form.
fn image(
    mode: &Mode,
    folder: &Path,
    form: &str,
    program: &str,
    arguments: &[&str],
) -> Result<PathBuf> {
    let Mode::Machine { egg, .. } = mode else { bail!("images are for machines") };
    let elf = build::go(program, build::NEWEST, Variant::Plain)?;
    fs::create_dir_all(folder)?;
    let image = folder.join(format!("image.{form}"));
    let mut command = Command::new(egg);
    command.args(["build", "--format", form, "-o"]).arg(&image).arg(&elf).arg("--").args(arguments);
    build::succeed(command)?;
    Ok(image)
}

/// Boots a program from an image.
fn from_image(
    mode: &Mode,
    name: &str,
    firmware: &str,
    card: &str,
    program: &str,
    arguments: &[&str],
) -> Result<Screen> {
    let folder = build::target().join("screen").join(name);
    let image = image(mode, &folder, "iso", program, arguments)?;
    let vm = Vm::of(&image, mode).machine("q35").flags(["--firmware", firmware]);
    Screen::start_with(name, vm, |line| format!("{line} -device {card}"))
}

/// The picture that the firmware (UEFI's GOP, or VBE by GRUB) has set up, of so many rows and columns.
fn by_firmware(mode: &Mode, firmware: &str, card: &str, size: (usize, usize)) -> Result<()> {
    let name = format!("{firmware}-{card}");
    let mut screen = from_image(mode, &name, firmware, card, "modules/term", &["card"])?;
    let picture = screen.wait_for("> ")?;
    let told = format!("size {}x{} TERM=xterm-256color", size.1, size.0);
    if picture.text(0) != told || (picture.rows.len(), picture.rows[0].len()) != size {
        bail!("not {told:?}:\n{}", picture.all());
    }
    // Pixels may have fewer bits than eight a colour.
    let near = |seen: Colour, want: Colour| seen.iter().zip(want).all(|(a, b)| a.abs_diff(b) <= 8);
    let [red, orange] = [&picture.rows[1][2], &picture.rows[1][33]];
    if !near(red.back, [170, 0, 0]) || !near(orange.front, [255, 128, 0]) {
        bail!("colours: {red:?}, {orange:?}");
    }
    screen.press(&["a", "ret"])?;
    screen.wait_for("read \"a\"")?;
    screen.press(&["ctrl-c"])?;
    screen.running.expect_orderly("exit 0", LIMIT)
}

/// Typed text, arrows, history, Ctrl-C in a line editor.
fn editor(mode: &Mode, name: &str, adapter: Adapter) -> Result<()> {
    let mut screen = Screen::start_on(adapter, name, term(mode, &[])?, "", |line| line)?;
    screen.wait_for("> ")?;
    screen.press(&["h", "e", "l", "l", "o", "left", "left", "shift-x", "home", "1", "end", "2"])?;
    screen.press(&["backspace", "3", "ret"])?;
    screen.wait_for("read \"1helXlo3\"")?;
    screen.press(&["up", "spc", "w", "ret"])?;
    screen.wait_for("read \"1helXlo3 w\"")?;
    screen.press(&["ctrl-c"])?;
    screen.running.expect_orderly("exit 0", LIMIT)
}

/// A program of a popular library for terminals, unmodified.
fn bubbletea(mode: &Mode) -> Result<()> {
    let elf = build::go("modules/bubbletea", build::NEWEST, Variant::Plain)?;
    let mut screen = Screen::start("bubbletea", Vm::of(&elf, mode), "", |line| line)?;
    let picture = screen.wait_for("> coffee")?;
    let row = picture.find("> coffee")?;
    let chosen = picture.rows[row][2];
    if chosen.front != [85, 255, 85] {
        bail!("the choice is not green: {chosen:?}");
    }
    screen.press(&["down"])?;
    screen.wait_for("> tea")?;
    screen.save()?;
    screen.press(&["ret"])?;
    screen.running.expect_orderly("exit 0", LIMIT)
}

/// A program draws into /dev/fb0, and gives the screen back to the text.
fn framebuffer(mode: &Mode, name: &str, adapter: Adapter) -> Result<()> {
    let elf = build::go("programs/screen", build::NEWEST, Variant::Plain)?;
    let vm = Vm::of(&elf, mode);
    draws(Screen::start_on(adapter, name, vm, "", |line| line)?, (1280, 800))
}

/// What it draws there is seen.
fn draws(mut screen: Screen, (width, height): (usize, usize)) -> Result<()> {
    const RED: Colour = [255, 0, 0];
    const GREEN: Colour = [0, 255, 0];
    const BLUE: Colour = [0, 0, 255];
    screen.running.wait_for_text("not seen")?;
    let until = Instant::now() + BOOT_LIMIT;
    let end = (width - 1, height - 2);
    let places = [((0, 0), GREEN), ((63, 63), GREEN), ((64, 63), RED), (end, RED)];
    loop {
        let picture = screen.picture()?;
        let last = [0, width - 1].map(|x| picture.pixel(x, height - 1)) == [Some(BLUE); 2];
        if last && places.iter().all(|((x, y), want)| picture.pixel(*x, *y) == Some(*want)) {
            break;
        }
        if Instant::now() > until {
            picture.save(&screen.folder.with_extension("png"))?;
            bail!("not what was drawn: see {}", screen.folder.display());
        }
        thread::sleep(Duration::from_millis(100));
    }
    screen.press(&["ret"])?;
    let picture = screen.wait_for("text again")?;
    if picture.pixel(width - 1, height - 1) != Some([0; 3]) {
        bail!("the picture is still there");
    }
    // The machine may be gone before its monitor answers.
    let _ = screen.press(&["ret"]);
    screen.running.expect_orderly("exit 0", LIMIT)
}

/// Keys go down and up in /dev/input/event0; the program has them for itself, so that the terminal does
/// not echo them.
fn evdev(mode: &Mode) -> Result<()> {
    let elf = build::go("programs/evdev", build::NEWEST, Variant::Plain)?;
    let mut screen = Screen::start("evdev", Vm::of(&elf, mode), "", |line| line)?;
    screen.wait_for("ready")?;
    screen.press(&["up", "shift-a"])?;
    // The machine may be gone before its monitor answers.
    let _ = screen.press(&["q"]);
    // When Q goes up; the kernel's word of that comes on another device, before or after.
    screen.running.expect_orderly("exit 0", LIMIT)?;
    let seen = screen.running.output().replace('\r', "");
    let want = "/dev/input/event0: \"AT Translated Set 2 keyboard\" bus 0x11\nready\n\
                key 103 value 1\nkey 103 value 0\nkey 42 value 1\nkey 30 value 1\n\
                key 30 value 0\nkey 42 value 0\nkey 16 value 1\n";
    if !seen.contains(want) {
        bail!("not as it should be:\n{seen}");
    }
    Ok(())
}

/// What a program writes to a keyboard's device is typed, in each mode that the terminal's keyboard has.
fn inject(mode: &Mode, name: &str, adapter: Adapter) -> Result<()> {
    let elf = build::go("programs/evdev", build::NEWEST, Variant::Plain)?;
    let vm = Vm::of(&elf, mode).flags(["--keymap", "de"]).args(["inject"]);
    let traced = |line| format!("{line} -trace ps2_set_ledstate");
    let mut screen = Screen::start_on(adapter, name, vm, "", traced)?;
    screen.running.expect_orderly("exit 0", LIMIT)?;
    screen.running.wait_for_text("unicode again: ")?;
    // A PC's keyboard, which has been told of CapsLock's light.
    let told = screen.running.output().contains("ledstate 4");
    if told == (adapter.machine == "microvm") {
        bail!("light of a PC's keyboard: {told}:\n{}", screen.running.output());
    }
    Ok(())
}

/// A machine that stands alone shows why its kernel failed.
fn panic(mode: &Mode, name: &str, adapter: Adapter) -> Result<()> {
    let alone = |line: String| HOST_SIDE.iter().fold(line, |line, part| line.replace(part, ""));
    let mut screen = Screen::start_on(adapter, name, term(mode, &[])?, "", alone)?;
    screen.wait_for("> ")?;
    screen.monitor.execute("inject-nmi", "")?;
    let picture = screen.wait_for("eggos: kernel panic: exception 2")?;
    let row = picture.find("kernel panic")?;
    let cell = picture.rows[row][0];
    if (cell.front, cell.back) != ([255; 3], [128, 0, 0]) {
        bail!("{cell:?}");
    }
    screen.wait_for("frame 0x")?;
    // The code comes last.
    let until = Instant::now() + BOOT_LIMIT;
    loop {
        let picture = screen.picture()?;
        match picture.code() {
            Some(text) if text.contains("eggos: kernel panic: ") && text.contains("frame 0x") => {
                break;
            }
            found if Instant::now() > until => bail!("the code says {found:?}"),
            _ => thread::sleep(Duration::from_millis(100)),
        }
    }
    screen.save()
}

/// A machine that cannot run its program says so on such a screen too.
fn gpu_refused(mode: &Mode) -> Result<()> {
    let alone = |line: String| {
        let (before, rest) = line.split_once("-initrd ").unwrap_or((&line, ""));
        let rest = rest.split_once(' ').map_or("", |(_, rest)| rest);
        HOST_SIDE.iter().fold(format!("{before}{rest}"), |line, part| line.replace(part, ""))
    };
    let mut screen = Screen::start_on(GPU, "gpu-refused", term(mode, &[])?, "", alone)?;
    screen.wait_for("eggos: no image: start the machine with egg").map(|_| ())
}

/// What has left the screen comes back with Shift-PageUp.
fn history(mode: &Mode) -> Result<()> {
    let mut screen = Screen::start("history", term(mode, &[])?, "", |line| line)?;
    screen.wait_for("> ")?;
    screen.press(&["f", "i", "r", "s", "t", "ret"])?;
    screen.wait_for("read \"first\"")?;
    screen.press(&["ret"; 20])?;
    while screen.picture()?.find("first").is_ok() {
        screen.press(&["ret"])?;
    }
    screen.press(&["shift-pgup"])?;
    screen.wait_for("read \"first\"")?;
    screen.press(&["shift-pgdn"])?;
    thread::sleep(Duration::from_millis(500));
    if screen.picture()?.find("first").is_ok() {
        bail!("still there");
    }
    screen.press(&["ctrl-c"])?;
    screen.running.expect_orderly("exit 0", LIMIT)
}

/// Another layout, and the screen as the only console.
fn keymap(mode: &Mode) -> Result<()> {
    let vm = term(mode, &[])?.flags(["--keymap", "de"]);
    let words = "eggos.console=screen";
    let mut screen = Screen::start("keymap", vm, words, |line| line)?;
    screen.wait_for("> ")?;
    screen.press(&["y", "z", "apostrophe", "alt_r-e", "equal", "e", "ret"])?;
    screen.wait_for("read \"zyä€é\"")?;
    if screen.running.output().contains("zyä") {
        bail!("the serial port was written to:\n{}", screen.running.output());
    }
    screen.press(&["ctrl-c"])?;
    screen.running.expect_orderly("exit 0", LIMIT)
}

/// No serial port, no disk, no network card, nothing of the host's.
fn alone(mode: &Mode) -> Result<()> {
    let card = "-device virtio-net-pci,netdev=net,romfile=,disable-legacy=on";
    let without = |line: String| {
        let others = [SERIAL, card, "-netdev user,id=net"];
        HOST_SIDE.iter().chain(&others).fold(line, |line, part| line.replace(part, ""))
    };
    let mut screen = Screen::start("alone", term(mode, &[])?, "", without)?;
    screen.wait_for("> ")?;
    screen.press(&["a", "ret"])?;
    screen.wait_for("read \"a\"")?;
    screen.press(&["ctrl-c"])?;
    // The machine switches itself off.
    screen.running.expect(Exit::Code(0), LIMIT)
}

/// Without a keyboard's controller the console is still shown, and read on the serial line.
fn no_keyboard(mode: &Mode) -> Result<()> {
    let without = |line: String| line.replace("-M q35,", "-M q35,i8042=off,");
    let mut screen = Screen::start("no-keyboard", term(mode, &[])?, "", without)?;
    screen.wait_for("> ")?;
    screen.running.write("typed\r")?;
    screen.wait_for("read \"typed\"")?;
    screen.running.write("exit\r")?;
    screen.running.expect_orderly("exit 0", LIMIT)
}
