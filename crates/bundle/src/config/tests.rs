use super::*;
use alloc::string::ToString;
use alloc::vec;
use proptest::prelude::*;

fn sample() -> Config {
    Config {
        program: "/bin/shop".into(),
        args: vec!["shop".into(), "-v".into(), "a \"b\"\\\n\u{1}ü".into()],
        env: vec!["PORT=80".into()],
        memory: Some(Size::from_mebibytes(64)),
        cpus: Some(4),
        network: Network::Static,
        address: "10.0.2.15/24".parse().ok(),
        gateway: "10.0.2.2".parse().ok(),
        dns: vec![IpAddr::from([1, 1, 1, 1])],
        returns: vec!["/cover.out".into()],
        trace: true,
        window: "24x80x0x1".parse().ok(),
        keymap: Keymap::De,
        ..Config::default()
    }
}

#[test]
fn settings_come_back_as_they_were() {
    for config in [sample(), Config::default()] {
        assert_eq!(Config::parse(config.render().as_bytes()), Ok(config));
    }
}

#[test]
fn the_text_is_what_a_reader_expects() {
    assert_eq!(
        sample().render(),
        r#"# Settings of this eggos image; the names are egg's flags.
program = "/bin/shop"
args = ["shop", "-v", "a \"b\"\\\n\u0001ü"]
env = ["PORT=80"]
workdir = "/"
hostname = "eggos"
memory = "64M"
cpus = "4"
network = "static"
address = "10.0.2.15/24"
gateway = "10.0.2.2"
dns = ["1.1.1.1"]
returns = ["/cover.out"]
trace = true
verbose = false
hardware = false
restart_on_panic = false
tty = false
console = "both"
keymap = "de"
window = "24x80x0x1"
"#
    );
}

#[test]
fn hand_written_text_is_read() {
    let text = b"\n# mine\nprogram=\"/a\" # why\n\targs = [ \"a\" , \"b\", ]\ntrace = true # on\n";
    let config = Config::parse(text).unwrap();
    assert_eq!((config.program.as_str(), config.trace), ("/a", true));
    assert_eq!(config.args, ["a", "b"]);
}

#[test]
fn errors_name_line_setting_and_form() {
    let rows: [(&[u8], &str); 9] = [
        (b"x", "line 1: not a `name = value`: x"),
        (b"\nhue = \"blue\"", "line 2: unknown setting hue"),
        (b"trace = \"yes\"", "line 1: trace wants true or false"),
        (b"trace = 1", "line 1: not a `name = value`: trace"),
        (b"program = \"abc", "line 1: malformed string in program"),
        (b"program = \"\\x\"", "line 1: malformed string in program"),
        (b"args = [\"a\" \"b\"]", "line 1: malformed list in args"),
        (
            b"address = \"10.0.0.1\"",
            "line 1: address wants an address with prefix such as \"10.0.2.15/24\"",
        ),
        (b"\xff", "the settings are not UTF-8 text"),
    ];
    for (text, message) in rows {
        assert_eq!(Config::parse(text).unwrap_err().to_string(), message);
    }
}

#[test]
fn the_command_line_overrides() {
    let mut config = sample();
    let errors = config.apply_command_line(
        "virtio_mmio.device=512@0xfeb00e00:12 eggos.trace=0 eggos.verbose \
         \"eggos.hostname=a b\" eggos.env=A=\"x y\" eggos.network=dhcp eggos.nope=1 eggos.tty=maybe",
    );
    assert!(!config.trace && config.verbose && !config.tty);
    assert_eq!(config.hostname, "a b");
    assert_eq!(config.env, ["PORT=80", "A=x y"]);
    assert_eq!(config.network, Network::Dhcp);
    let messages: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(messages, ["unknown setting nope", "tty wants true or false"]);
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(sample().validate(), Ok(()));
    let no_address = Config { address: None, ..sample() };
    assert_eq!(no_address.validate().unwrap_err().problem, Problem::NoAddress);
    assert_eq!(Config::default().validate().unwrap_err().problem, Problem::NoProgram);
}

#[test]
fn sizes() {
    let rows = [("64", 64 << 20), ("64M", 64 << 20), ("2G", 2 << 30), ("512K", 512 << 10)];
    for (text, bytes) in rows {
        assert_eq!(text.parse(), Ok(Size { bytes }));
    }
    for text in ["", "M", "-1", "1X", "1.5G", "99999999999G"] {
        assert_eq!(text.parse::<Size>(), Err(()), "{text}");
    }
    assert_eq!(Size { bytes: 3 << 30 }.to_string(), "3G");
    assert_eq!(Size { bytes: 1 }.to_string(), "1K");
}

proptest! {
    #[test]
    fn random_text_never_panics(text in ".{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Config::parse(text.as_bytes());
        let _ = Config::parse(&bytes);
        let _ = Config::default().apply_command_line(&text);
    }

    #[test]
    fn near_settings_never_panic(
        text in "(program|args|env|trace|dns|memory) ?= ?[\\[\"a-z\\\\u0-9,\\] #]{0,40}"
    ) {
        let _ = Config::parse(text.as_bytes());
    }

    #[test]
    fn any_strings_come_back(
        program in ".{0,40}", args in proptest::collection::vec("(?s).{0,40}", 0..5)
    ) {
        let config = Config { program, args, ..Config::default() };
        prop_assert_eq!(Config::parse(config.render().as_bytes()), Ok(config));
    }
}

#[test]
fn a_window_has_four_numbers() {
    for bad in ["", "24x80", "24x80x0x0x0", "24x80x0x-1", "24x80x0x65536"] {
        assert_eq!(bad.parse::<Window>(), Err(()), "{bad}");
    }
}
