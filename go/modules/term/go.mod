module github.com/eggos/eggos/go/modules/term

go 1.26.0

require golang.org/x/term v0.46.0

require golang.org/x/sys v0.48.0 // indirect
