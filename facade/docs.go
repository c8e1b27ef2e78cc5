package facade

import (
	"net/url"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/swaggest/swgui"
	swagger "github.com/swaggest/swgui/v5emb"

	"dq/facade/openapi"
)

const (
	descriptionPath = "/openapi.yaml"
	docsPath        = "/docs/"
)

// serveDescription serves the description of the API, and a page to browse it and to try it out. All parts of the page
// are in the binary, so it works without the internet.
func (f *Facade) serveDescription() {
	f.app.Use(descriptionPath, docsPath, notFramed)
	f.app.Get(descriptionPath, func(c *fiber.Ctx) error {
		c.Context().SetContentType("application/yaml")
		return c.Send(openapi.YAML)
	})

	page := swagger.NewHandlerWithConfig(swgui.Config{
		Title: "dq", SwaggerJSON: descriptionPath, BasePath: docsPath,
		HideCurl: false, ShowTopBar: false, JsonEditor: false,
	})
	f.app.Get(docsPath+"*", func(c *fiber.Ctx) error {
		// The adaptor answers a URI that net/url cannot parse with 500.
		if _, err := url.ParseRequestURI(c.OriginalURL()); err != nil {
			return fiber.ErrNotFound
		}
		return adaptor.HTTPHandler(page)(c)
	})
}

// notFramed keeps pages of other origins from showing a page of the broker within their own.
func notFramed(c *fiber.Ctx) error {
	c.Set(fiber.HeaderXFrameOptions, "DENY")
	c.Set(fiber.HeaderContentSecurityPolicy, "frame-ancestors 'none'")
	return c.Next()
}
