module github.com/eggos/eggos/go/programs

go 1.16
