// A gin web server, as its own documentation writes it: one greeting, one path parameter, one JSON
// body that comes back. Run-time arguments: the address to listen on (":80" when absent).
package main

import (
	"log"
	"net/http"
	"os"
	"runtime"

	"github.com/gin-gonic/gin"
)

func main() {
	address := ":80"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	gin.SetMode(gin.ReleaseMode)
	router := gin.Default()
	router.GET("/", func(c *gin.Context) {
		c.String(http.StatusOK, "hello from gin on %s\n", runtime.Version())
	})
	router.GET("/hello/:name", func(c *gin.Context) {
		c.JSON(http.StatusOK, gin.H{"hello": c.Param("name")})
	})
	router.POST("/echo", func(c *gin.Context) {
		var body map[string]interface{}
		if err := c.ShouldBindJSON(&body); err != nil {
			c.JSON(http.StatusBadRequest, gin.H{"error": err.Error()})
			return
		}
		c.JSON(http.StatusOK, body)
	})
	if err := router.Run(address); err != nil {
		log.Fatal(err)
	}
}
