module github.com/eggos/eggos/go/examples/hello

go 1.16
