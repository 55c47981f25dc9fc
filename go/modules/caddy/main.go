// Caddy with its standard modules: the main of its own cmd/caddy. Run-time arguments:
// `run --config /caddy.json` (or a Caddyfile: `run --config /Caddyfile --adapter caddyfile`).
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

func main() {
	caddycmd.Main()
}
